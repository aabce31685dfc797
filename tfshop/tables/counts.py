"""How often each row of a table is looked up for something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._console import progress
from tfshop._keras import keras, tf
from tfshop.data.split import Split
from tfshop.models.rebuild import calls_in_order
from tfshop.tables.codec import RowCounts
from tfshop.training.inputs import model_specs
from tfshop.training.tracing import for_batches

BATCH = 16_384
SAMPLE, SAMPLE_BATCH = 4096, 1024
OFTEN = 8  # look-ups from which on their number says something
GROWN = 2.0  # times as many lookups, from which on a row counts as it does later
MOST = 0.5  # of a row's look-ups: now and then, all units that read a row are off
Calls = Mapping[str, Sequence[Any]]


def row_counts(model: Any, names: Sequence[str], split: Split) -> dict[str, NDArray[np.float64]]:
    """Run the ids of a split to the tables and count, in all calls of each.

    A lookup counts where it moves a score. What stands in the padding of a history and is masked out does not: it
    would be by far the most frequent row, and no error in it costs anything. Slopes of the scores on a sample tell,
    for each column of ids, which share of the lookups of a frequent row goes nowhere, where that is most of them.

    Args:
        model: Functional model without submodels.
        names: `Embedding` layers.
        split: The training split: rare in training is what rare means.

    Returns:
        Layer name to float64 (rows,).
    """
    (counted,) = _counted(model, names, (split,))
    return counted


def expected_counts(model: Any, names: Sequence[str], split: Split, later: Split) -> dict[str, RowCounts]:
    """The same, and beside it how often each row is expected to be looked up.

    The row of ids that no vocabulary has is the other way round than padding: training, on which the vocabulary was
    made, hardly sees it, and later it may be a tenth of all lookups. Rows that are looked up far more often later are
    expected as often as then.

    Args:
        model: Functional model without submodels.
        names: `Embedding` layers.
        split: The training split.
        later: Rows behind it in time, the validation split; its counts are scaled to as many rows.
    """
    if not later.num_rows:
        return {name: RowCounts(own, own) for name, own in row_counts(model, names, split).items()}
    trained, after = _counted(model, names, (split, later))
    scale = split.num_rows / later.num_rows
    return {name: RowCounts(own, _grown(own, after[name], scale)) for name, own in trained.items()}


def _counted(model: Any, names: Sequence[str], splits: Sequence[Split]) -> list[dict[str, NDArray[np.float64]]]:
    """Counts of each split; what is looked up in vain is told by the first."""
    sizes = {name: int(model.get_layer(name).input_dim) for name in names}
    ids: dict[str, list[Any]] = {name: [] for name in names}
    rows: dict[str, list[Any]] = {name: [] for name in names}
    for node in calls_in_order(model):
        if node.layer.name in ids:
            ids[node.layer.name] += node.keras_inputs
            rows[node.layer.name] += tf.nest.flatten(node.outputs)
    idle = _idle(model, ids, rows, splits[0])
    probe = keras.Model(model.inputs, ids)
    splits = [own.with_batch_size(BATCH) for own in splits]
    num_batches = sum(own.num_batches for own in splits)
    ids_of = for_batches(lambda inputs: probe(inputs, training=False), model, num_batches)
    counted = []
    with progress("counting ids", num_batches) as advance:
        for own in splits:
            totals = {name: np.zeros(size) for name, size in sizes.items()}
            for inputs, _ in own.batches(inputs=model_specs(model)):
                _add(totals, ids_of(inputs), idle)
                advance()
            # a share times a number may be rounded
            counted.append({name: np.maximum(total, 0.0) for name, total in totals.items()})
    return counted


def _add(totals: Mapping[str, NDArray[np.float64]], ids: Calls, idle: Mapping[tuple[str, int], list[_Idle]]) -> None:
    """Count the ids of a batch, in place."""
    for name, tensors in ids.items():
        for call, tensor in enumerate(tf.nest.flatten(tensors)):
            columns = _columns(tensor)
            np.add.at(totals[name], columns.ravel(), 1.0)
            for found in idle.get((name, call), ()):
                looked_up = np.count_nonzero(columns[:, found.column] == found.row)
                totals[name][found.row] -= found.share * looked_up


def _grown(before: NDArray[np.float64], later: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """Counts of before, but of later where these say that far more is looked up."""
    scaled = later * scale
    grown: NDArray[np.float64] = np.where((later >= OFTEN) & (scaled > GROWN * before), scaled, before)
    return grown


@dataclass(frozen=True)
class _Idle:
    """A row that a column of ids looks up in vain.

    Attributes:
        column: Of the ids.
        row: Of the table.
        share: Of the lookups that move no score.
    """

    column: int
    row: int
    share: float


def _idle(model: Any, ids: Calls, rows: Calls, split: Split) -> dict[tuple[str, int], list[_Idle]]:
    """What is looked up in vain, by layer and call."""
    names = list(ids)
    scores = [tensor for tensor in model.outputs if tensor.dtype.is_floating]
    probe = keras.Model(model.inputs, {"scores": scores, "ids": dict(ids), "rows": dict(rows)})
    tables = [model.get_layer(name).embeddings for name in names]

    def moving(inputs: Any) -> dict[str, Any]:
        with tf.GradientTape() as tape:
            tape.watch(tables)
            found = probe(inputs, training=False)
            total = _weighed(found["scores"])
        slopes = tape.gradient(total, found["rows"], unconnected_gradients=tf.UnconnectedGradients.ZERO)
        moves = tf.nest.map_structure(lambda slope: tf.reduce_any(tf.convert_to_tensor(slope) != 0, axis=-1), slopes)
        return {"ids": found["ids"], "moves": moves}

    sample = split.take(min(SAMPLE, split.num_rows), seed=0).with_batch_size(SAMPLE_BATCH)
    run = for_batches(moving, model, sample.num_batches)
    found: dict[tuple[str, int], list[tuple[Any, Any]]] = {}
    for inputs, _ in sample.batches(inputs=model_specs(model)):
        answer = run(inputs)
        for name in names:
            pairs = zip(tf.nest.flatten(answer["ids"][name]), tf.nest.flatten(answer["moves"][name]), strict=True)
            for call, (own, moves) in enumerate(pairs):
                found.setdefault((name, call), []).append((_columns(own), _columns(moves)))
    return {
        key: _shares(np.concatenate([own for own, _ in parts]), np.concatenate([moves for _, moves in parts]) != 0)
        for key, parts in found.items()
    }


def _weighed(scores: Sequence[Any]) -> Any:
    """A sum of all outputs in which none cancels another, as probabilities that add up to one would."""
    total, first = tf.constant(0.0), 1
    for score in scores:
        flat = tf.reshape(tf.cast(score, tf.float32), (-1, score.shape[-1] or 1))
        weights = np.cos(np.arange(first, first + flat.shape[-1])).astype(np.float32)
        total, first = total + tf.reduce_sum(flat * weights), first + flat.shape[-1]
    return total


def _columns(values: Any) -> NDArray[np.int64]:
    """Ids of any shape as (rows, columns)."""
    array: NDArray[np.int64] = values.numpy().astype(np.int64)
    return array.reshape(-1, array.shape[-1] if array.ndim > 1 else 1)


def _shares(ids: NDArray[np.int64], moves: NDArray[np.bool_]) -> list[_Idle]:
    """Of rows that a column looks up often, the share that moves nothing; none where most of it does.

    Where nothing moves at all, rows reach the scores by a way without slopes, which says nothing of any.
    """
    found: list[_Idle] = []
    if not moves.any():
        return found
    for column, (own, moving) in enumerate(zip(ids.T, moves.T, strict=True)):
        values, place, often = np.unique(own, return_inverse=True, return_counts=True)
        share = 1 - np.bincount(place, weights=moving) / often
        found += [_Idle(column, int(values[i]), share[i]) for i in np.flatnonzero((often >= OFTEN) & (share > MOST))]
    return found
