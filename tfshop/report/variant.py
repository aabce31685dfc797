"""What the pictures are drawn from: plain values, no files and no networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop.errors import TfshopError
from tfshop.evaluation import Evaluation
from tfshop.evaluation.checks import checked_labels, checked_probabilities

PARTS = ("tables", "dense", "rest")
SERIES = ("loss", "validation_auc", "sparsity")


@dataclass(frozen=True, eq=False)
class Variant:
    """One file as a report shows it.

    Args:
        name: Shown in every table and picture.
        evaluation: What was measured on the file.
        labels: Of the test split, 0 or 1, shape (n,); (n, targets) of several targets.
        scores: The file's probabilities on the test split, of the same shape.
        bytes_by_part: Bytes of "tables", "dense" and "rest"; together the size of the file.
        plan: How the file was made, as plain data; None where nothing was done to it.
        left_alone: What passes did not treat, each with "layer", "class", "pass" and "reason".

    Raises:
        DataError: For labels of one class or of another length than the scores.
        ScoringError: For scores that are not probabilities.
        TfshopError: For bytes that do not add up to the file.
    """

    name: str
    evaluation: Evaluation
    labels: NDArray[Any]
    scores: NDArray[Any]
    bytes_by_part: Mapping[str, int]
    plan: Mapping[str, Any] | None = None
    left_alone: tuple[Mapping[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Refuse what would draw a false picture."""
        if self.evaluation.targets:
            _ = self.each  # each target checks itself
            return
        checked_probabilities(f"scores of {self.name!r}", self.scores, checked_labels(self.labels).size)
        parts, size = dict(self.bytes_by_part), self.evaluation.size_bytes
        if not set(parts) <= set(PARTS) or min(parts.values(), default=0) < 0 or sum(parts.values()) != size:
            raise TfshopError(
                f"bytes by part of {self.name!r}, {parts}, together {sum(parts.values()):,}. "
                f"Expected {', '.join(PARTS)} that add up to the file's {size:,} bytes. "
                "Fix: count as rest what is neither table nor dense."
            )

    @property
    def each(self) -> dict[str, Variant]:
        """The file as seen by each target, in order; under the name "" where there is one."""
        if not self.evaluation.targets:
            return {"": self}
        return {
            target: replace(self, evaluation=seen, labels=self.labels[:, position], scores=self.scores[:, position])
            for position, (target, seen) in enumerate(self.evaluation.each.items())
        }

    @property
    def truth(self) -> NDArray[np.bool_]:
        """Labels as booleans, of their shape."""
        return np.asarray(self.labels).astype(bool)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Scores as float64, shape (n,)."""
        return np.asarray(self.scores, dtype=np.float64)

    @property
    def predicted(self) -> NDArray[np.bool_]:
        """Whether each row reaches the file's own threshold, shape (n,)."""
        return self.probabilities >= self.evaluation.test.threshold


@dataclass(frozen=True)
class TrainingCurve:
    """How one training went.

    Args:
        name: Of what was trained; a variant's name gives the curve that variant's colour.
        rows: In order, each with "step" or "epoch" and any of "loss", "validation_auc" and "sparsity";
            None or absent where nothing was measured.

    Raises:
        TfshopError: For no rows, and for rows of which neither all have a step nor all an epoch.

    Example:
        >>> curve = TrainingCurve("mlp", ({"epoch": 1, "loss": 0.4}, {"epoch": 2, "loss": 0.3, "validation_auc": 0.8}))
        >>> curve.series("loss")
        ([1.0, 2.0], [0.4, 0.3])
        >>> curve.series("validation_auc")
        ([2.0], [0.8])
    """

    name: str
    rows: tuple[Mapping[str, float | None], ...]

    def __post_init__(self) -> None:
        """Refuse rows without a place on the x axis."""
        if not self.clocks:
            raise TfshopError(
                f"training curve {self.name!r}, {len(self.rows)} rows that share neither step nor epoch. "
                "Expected at least one row, and step or epoch in all of them. Fix: add 'epoch' to every row."
            )

    @property
    def clocks(self) -> tuple[str, ...]:
        """What can be the x axis: of "step" and "epoch" those that every row has."""
        if not self.rows:
            return ()
        return tuple(key for key in ("step", "epoch") if all(row.get(key) is not None for row in self.rows))

    def series(self, key: str, clock: str | None = None) -> tuple[list[float], list[float]]:
        """Places on the x axis and values of one series, where it was measured."""
        clock = clock or self.clocks[0]
        points = [(row[clock], row[key]) for row in self.rows if row.get(key) is not None]
        return [float(x) for x, _ in points if x is not None], [float(y) for _, y in points if y is not None]
