"""How the scores of a network answer to what it looks up, and what rounding of the rows therefore costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from tfshop._console import progress
from tfshop._keras import keras
from tfshop.compression._table_parts import Part
from tfshop.compression.roles import output_tensors, source_tensors
from tfshop.compression.score_slopes import NEAREST, scores_and_slopes
from tfshop.data.split import Split
from tfshop.training.inputs import model_specs
from tfshop.training.outputs import arrange_outputs
from tfshop.training.tracing import for_batches

BATCH = 1024
MOST_NUMBERS = 2**26  # of slopes in memory


@dataclass(frozen=True, eq=False)
class Slopes:
    r"""What a field's looked-up numbers change in the scores of a sample.

    With :math:`a = 2 \arcsin \sqrt p`, half the square of a change of a is the cross-entropy that it costs, to second
    order: :math:`\mathrm{KL} \approx p (1 - p)\,\Delta z^2 / 2`.

    Attributes:
        ids: Rows of the field, one a look-up (look-ups,).
        rows: Row of the sample that each look-up belongs to.
        slopes: Derivative of a, float32 (targets, look-ups, dimension).
        num_rows: Of the sample.
    """

    ids: NDArray[np.int64]
    rows: NDArray[np.int64]
    slopes: NDArray[np.float32]
    num_rows: int

    def changes(self, before: NDArray[np.float32], after: Any) -> NDArray[np.float32]:
        """What other rows change in a, to first order, (targets, rows of the sample).

        Args:
            before: The field's rows as they were.
            after: Gives rows by id.
        """
        seen, place = np.unique(self.ids, return_inverse=True)
        error = (after(seen) - before[seen])[place]
        moved = np.einsum("tld,ld->tl", self.slopes, error)
        return np.stack([np.bincount(self.rows, own, self.num_rows) for own in moved]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Sample:
    """Scores of validation rows, and what the fields do to them.

    Attributes:
        scores: float64 (targets, rows).
        slopes: One a field.
    """

    scores: NDArray[np.float64]
    slopes: tuple[Slopes, ...]

    def auc_drop(self, changes: NDArray[np.float32]) -> float:
        """AUC that is lost where a changes so much, were the scores right; the mean over targets.

        Args:
            changes: (targets, rows).
        """
        drops = []
        for scores, change in zip(self.scores, changes, strict=True):
            moved = logit(scores) + change / np.sqrt(scores * (1 - scores))
            drops.append(_auc_of_chances(scores, scores) - _auc_of_chances(moved, scores))
        return float(np.mean(drops))


def sampled(model: Any, parts: Sequence[Part], split: Split, *, rows: int, seed: int) -> Sample:
    """Score a sample, and take the slopes of the scores.

    Args:
        model: Functional model without submodels; left as it is.
        parts: Its fields.
        split: The validation split.
        rows: Most rows of it; fewer where rows look up very many numbers.
        seed: Of the sample.
    """
    names = list(dict.fromkeys(part.layer for part in parts))
    ids = {name: source_tensors(model.get_layer(name), model) for name in names}
    seen = {name: output_tensors(model.get_layer(name), model) for name in names}
    numbers = sum(int(np.prod([size or 1 for size in t.shape[1:]])) for own in seen.values() for t in own)
    most = max(1, min(rows, MOST_NUMBERS // (numbers * len(model.outputs)), split.num_rows))
    arranged = arrange_outputs(model, split.schema)
    probe = keras.Model(model.inputs, {"scores": arranged.outputs, "ids": ids, "seen": seen})
    tables = [model.get_layer(name).embeddings for name in names]
    sample = split.take(most, seed=seed).with_batch_size(BATCH)
    gathered = for_batches(lambda inputs: scores_and_slopes(probe, tables, inputs), model, sample.num_batches)
    scores: list[Any] = []
    looked: dict[str, list[list[Any]]] = {name: [] for name in names}
    with progress("slopes of the scores", sample.num_batches) as advance:
        for inputs, _ in sample.batches(inputs=model_specs(model)):
            found = gathered(inputs)
            scores.append(found["scores"].numpy())
            for name in names:
                pairs = zip(found["ids"][name], found["slopes"][name], strict=True)
                looked[name].append([(own.numpy(), slopes.numpy()) for own, slopes in pairs])
            advance()
    joined = np.concatenate(scores, axis=1).astype(np.float64)
    return Sample(joined, tuple(_slopes(part, looked[part.layer], joined.shape[1]) for part in parts))


def _slopes(part: Part, batches: Sequence[Sequence[tuple[Any, Any]]], num_rows: int) -> Slopes:
    """Those of a field: of its columns in a merged table, of all calls of another."""
    ids, rows, slopes, first = [], [], [], 0
    for calls in batches:
        for own, given in calls:
            if part.columns is not None:
                own, given = own[..., list(part.columns)], given[..., list(part.columns), :]  # noqa: PLW2901
            a_row = own.size // len(own)
            ids.append(own.reshape(-1).astype(np.int64) - part.start)
            rows.append(np.repeat(np.arange(first, first + len(own)), a_row))
            slopes.append(given.reshape(given.shape[0], -1, given.shape[-1]))
        first += len(calls[0][0])
    return Slopes(np.concatenate(ids), np.concatenate(rows), np.concatenate(slopes, axis=1), num_rows)


def loss_of(changes: NDArray[np.float32]) -> float:
    """Cross-entropy that changes of a cost, the mean over rows, the sum over targets."""
    return float(np.square(changes, dtype=np.float64).sum(axis=0).mean() / 2)


def divergence(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """Cross-entropy that other scores cost, were those of before right: Kullback-Leibler, the sum over targets."""
    p, q = (np.clip(scores, NEAREST, 1 - NEAREST) for scores in (before, after))
    return float((p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).sum(axis=0).mean())


def _auc_of_chances(scores: NDArray[np.float64], chances: NDArray[np.float64]) -> float:
    """AUC of rows that are positive with these chances."""
    order = np.argsort(scores, kind="stable")
    ordered, chances = scores[order], chances[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-np.inf))
    positive, negative = np.add.reduceat(chances, starts), np.add.reduceat(1 - chances, starts)
    below = np.cumsum(negative) - negative / 2
    return float(positive @ below / (positive.sum() * negative.sum()))
