"""Mixed precision by measured sensitivity: the layers that hurt stay in float."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tfshop._console import progress
from tfshop.export.settings import Batches, Mixed
from tfshop.runtime import Scorer

SMALLEST = 1e-6  # of a probability and of its complement
Quantize = Callable[[Sequence[str]], bytes]
AUC = Callable[[bytes], float]


@dataclass(frozen=True)
class Choice:
    """Which layers stay in float.

    Attributes:
        content: The file.
        layers: In the order they were chosen.
        sensitivities: Layer -> change of the logits where it alone is quantized, the largest first; empty where the
            limits hold with every layer quantized.
        change: Change of the logits of the file.
        auc_drop: Loss of validation AUC; None where it was not asked for.
        met: Whether the file is within its limits.
    """

    content: bytes
    layers: tuple[str, ...]
    sensitivities: Mapping[str, float]
    change: float
    auc_drop: float | None
    met: bool


@dataclass(frozen=True, eq=False)
class Search:
    """Leave one more layer in float until the limits hold.

    Args:
        limits: What is asked for.
        groups: Layer -> outputs of its operators.
        quantize: Takes the operators that stay in float, gives the file.
        reference: The float graph.
        calibration: Batches of inputs, on which logits are compared.
        auc: Gives the validation AUC of a file.
    """

    limits: Mixed
    groups: Mapping[str, Sequence[str]]
    quantize: Quantize
    reference: bytes
    calibration: Batches
    auc: AUC | None = None

    def run(self) -> Choice:
        """Where not all can be quantized, measure each layer alone, then add the most sensitive to the float part."""
        rows = list(self.calibration())
        wanted = logits(self.reference, rows)
        first = self._judged((), rows, wanted, {})
        is_enough = self.limits.max_change or self.limits.max_auc_drop
        if first.met and is_enough:
            return first
        sensitivities = self._sensitivities(rows, wanted)
        best = replace(first, sensitivities=sensitivities)
        kept: tuple[str, ...] = ()
        for name in sensitivities:
            if best.met and is_enough:
                break
            candidate = self._judged((*kept, name), rows, wanted, sensitivities)
            if self.limits.max_bytes and len(candidate.content) > self.limits.max_bytes:
                continue  # a smaller layer may still fit
            kept = candidate.layers
            best = candidate if candidate.met or candidate.change < best.change else best
        return best

    def _sensitivities(self, rows: Sequence[Mapping[str, np.ndarray]], wanted: NDArray[np.float64]) -> dict[str, float]:
        found = {}
        with progress("sensitivity of layers", len(self.groups)) as advance:
            for name in self.groups:
                others = [output for other in self.groups if other != name for output in self.groups[other]]
                found[name] = change(logits(self.quantize(others), rows), wanted)
                advance(note=name)
        return dict(sorted(found.items(), key=lambda pair: -pair[1]))

    @cached_property
    def _reference_auc(self) -> float:
        return self.auc(self.reference) if self.auc is not None else 0.0

    def _judged(
        self,
        kept: tuple[str, ...],
        rows: Sequence[Mapping[str, np.ndarray]],
        wanted: NDArray[np.float64],
        sensitivities: Mapping[str, float],
    ) -> Choice:
        content = self.quantize([output for name in kept for output in self.groups[name]])
        moved = change(logits(content, rows), wanted)
        met = self.limits.max_change is None or moved <= self.limits.max_change
        drop = None
        if met and self.limits.max_auc_drop is not None and self.auc is not None:  # of those that come into question
            drop = self._reference_auc - self.auc(content)
            met = drop <= self.limits.max_auc_drop
        met = met and (self.limits.max_bytes is None or len(content) <= self.limits.max_bytes)
        return Choice(content, kept, sensitivities, moved, drop, met)


def logits(content: bytes, rows: Sequence[Mapping[str, np.ndarray]]) -> NDArray[np.float64]:
    """Logits of a file, (rows, outputs)."""
    scorer = Scorer(content)
    columns: dict[str, list[NDArray[np.float64]]] = {name: [] for name in scorer.outputs}
    for batch in rows:
        scores = scorer(dict(batch))
        for name, values in (scores if isinstance(scores, dict) else {scorer.outputs[0]: scores}).items():
            columns[name].append(np.asarray(values, dtype=np.float64).reshape(len(values), -1)[:, 0])
    chances = np.clip(np.stack([np.concatenate(parts) for parts in columns.values()], axis=1), SMALLEST, 1 - SMALLEST)
    return np.asarray(np.log(chances / (1 - chances)))


def change(found: NDArray[np.float64], wanted: NDArray[np.float64]) -> float:
    """Root mean square difference, as a share of the standard deviation; the largest of the outputs'."""
    spread = np.maximum(wanted.std(axis=0), np.finfo(np.float32).eps)
    return float((np.sqrt(((found - wanted) ** 2).mean(axis=0)) / spread).max())
