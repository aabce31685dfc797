"""What an exporter can be told about the integers, as plain data that validates itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tfshop.compression.unread import refuse_unread
from tfshop.errors import PlanError
from tfshop.numerics import RANGE_METHODS

Batches = Callable[[], Iterator[Mapping[str, np.ndarray]]]
RECORDED = "recorded"
RANGES = (RECORDED, *RANGE_METHODS)
PERCENTILE = "percentile"
_HALF = 50


@dataclass(frozen=True)
class Mixed:
    """How far layers are to stay in float, the one that hurts most first.

    Args:
        max_change: Largest root mean square change of the logits on calibration rows, as a share of their standard
            deviation.
        max_auc_drop: Largest loss of AUC on validation, the mean over the targets.
        max_bytes: Size that the file may not pass; without another limit, as many layers stay in float as fit.

    Raises:
        PlanError: For no limit at all, or one that is not above 0.
    """

    max_change: float | None = None
    max_auc_drop: float | None = None
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        limits = (self.max_change, self.max_auc_drop, self.max_bytes)
        wrong = [limit for limit in limits if limit is not None and not _is_above_zero(limit)]
        if wrong or all(limit is None for limit in limits):
            raise PlanError(
                f"mixed has the limits {limits}. Expected max_change, max_auc_drop or max_bytes, above 0. "
                "Fix: Export('int8', mixed={'max_change': 0.02})."
            )


@dataclass(frozen=True)
class Precision:
    """How a calibrated graph becomes integers.

    Args:
        ranges: "recorded": as TensorFlow's calibrator has them; else a key of `RANGE_METHODS`.
        percentile: Share of the numbers, in percent, that "percentile" keeps on each side; read by no other.
        bias_correction: Whether the mean error of each product on calibration rows is put into its bias.
        keep_float: Keras layers, or tensors of the file, that stay in float.
        mixed: Which further layers stay in float, by measurement; None for none.

    Raises:
        PlanError: For a value out of range.
    """

    ranges: str = RECORDED
    percentile: float = 99.99
    bias_correction: bool = False
    keep_float: tuple[str, ...] = ()
    mixed: Mixed | None = None

    def __post_init__(self) -> None:
        if self.ranges not in RANGES:
            raise PlanError(f"ranges is {self.ranges!r}. Expected one of {', '.join(RANGES)}. Fix: ranges='mse'.")
        if not _is_above_zero(self.percentile) or not _HALF < self.percentile <= 2 * _HALF:
            raise PlanError(
                f"percentile is {self.percentile!r}. Expected above 50, at most 100. Fix: percentile=99.99."
            )
        if self.ranges != PERCENTILE:
            refuse_unread(self, ("percentile",), f"ranges are {self.ranges!r}", fix=f"ranges={PERCENTILE!r}")
        if isinstance(self.keep_float, str) or not all(isinstance(name, str) for name in self.keep_float):
            raise PlanError(
                f"keep_float is {self.keep_float!r}. Expected names of layers. Fix: keep_float=('dense_0',)."
            )

    @property
    def is_plain(self) -> bool:
        """Whether nothing was asked for."""
        return self == Precision()

    @property
    def keeps_floats(self) -> bool:
        """Whether layers are to stay in float beyond those that always do."""
        return bool(self.keep_float) or self.mixed is not None


def _is_above_zero(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
