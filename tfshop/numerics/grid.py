"""Grids of integer levels, and the textbook ways to lay one over numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tfshop.errors import PlanError

FEWEST_BITS, MOST_BITS = 2, 16
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Grid:
    """Integer levels that stand for numbers: `scale * (level - zero_point)`.

    Zero is always a level of its own, so that padding and ReLU lose nothing.

    Attributes:
        scale: Step between two levels; one number, or shaped to broadcast over the values, one a channel.
        zero_point: The level of zero, of the shape of `scale`.
        lowest: Lowest level.
        highest: Highest level.

    Example:
        >>> grid = symmetric_grid(1.0, bits=8)
        >>> grid.quantize([-2.0, 0.0, 0.5])
        array([-127,    0,   64])
    """

    scale: Floats
    zero_point: NDArray[np.int64]
    lowest: int
    highest: int

    @property
    def minimum(self) -> Floats:
        """The number of the lowest level."""
        return np.asarray(self.scale * (self.lowest - self.zero_point), dtype=np.float64)

    @property
    def maximum(self) -> Floats:
        """The number of the highest level."""
        return np.asarray(self.scale * (self.highest - self.zero_point), dtype=np.float64)

    def quantize(self, values: ArrayLike) -> NDArray[np.int64]:
        """The nearest levels; what lies beyond the ends becomes an end."""
        levels = np.round(np.asarray(values, dtype=np.float64) / self.scale) + self.zero_point
        return np.clip(levels, self.lowest, self.highest).astype(np.int64)

    def dequantize(self, levels: ArrayLike) -> Floats:
        """The numbers that levels stand for."""
        return np.asarray(self.scale * (np.asarray(levels) - self.zero_point), dtype=np.float64)

    def fake_quantize(self, values: ArrayLike) -> Floats:
        """Numbers as they come back from the grid."""
        return self.dequantize(self.quantize(values))


def asymmetric_grid(minimum: ArrayLike, maximum: ArrayLike, bits: int = 8) -> Grid:
    """The grid of 2^bits levels from `minimum` to `maximum`, moved by up to half a step so that zero is a level.

    A range without zero is stretched to it. A range of zero width gets steps of 1.

    Args:
        minimum: Lowest number, one or one a channel.
        maximum: Highest number, likewise.
        bits: 2 to 16.

    Raises:
        PlanError: For other bits, and for numbers that are not finite.

    References:
        Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
        Inference, CVPR 2018.
    """
    levels = require_bits(bits)
    low = np.minimum(_finite(minimum), 0.0)
    high = np.maximum(_finite(maximum), 0.0)
    scale = _positive((high - low) / (levels - 1))
    lowest = -levels // 2
    zero_point = np.round(lowest - low / scale)
    return Grid(scale, zero_point.astype(np.int64), lowest, lowest + levels - 1)


def symmetric_grid(limit: ArrayLike, bits: int = 8, *, narrow: bool = True) -> Grid:
    """The grid whose levels lie evenly around zero, from `-limit` to `limit`.

    Args:
        limit: Largest absolute number, one or one a channel.
        bits: 2 to 16.
        narrow: Leave the level out that has no opposite, as TFLite does for weights: -127 … 127 of 8 bits.

    Raises:
        PlanError: For other bits, and for numbers that are not finite.
    """
    highest = require_bits(bits) // 2 - 1
    scale = _positive(np.abs(_finite(limit)) / highest)
    return Grid(scale, np.zeros(scale.shape, np.int64), -highest if narrow else -highest - 1, highest)


def asymmetric(values: ArrayLike, bits: int = 8, axis: int | None = None) -> Grid:
    """The min-max grid of values: of all of them, or one for each channel along `axis`."""
    values = _finite(values)
    return asymmetric_grid(_over(np.min, values, axis), _over(np.max, values, axis), bits)


def symmetric(values: ArrayLike, bits: int = 8, axis: int | None = None, *, narrow: bool = True) -> Grid:
    """The symmetric grid up to the largest absolute value: of all values, or for each channel along `axis`.

    Example:
        >>> kernel = np.array([[1.0, 10.0], [-0.5, 3.0]])
        >>> symmetric(kernel, axis=1).scale.round(4)
        array([[0.0079, 0.0787]])
    """
    return symmetric_grid(_over(np.max, np.abs(_finite(values)), axis), bits, narrow=narrow)


def clipped(values: ArrayLike, share: float, bits: int = 8, axis: int | None = None) -> Grid:
    """The symmetric grid up to a threshold: that share of the largest absolute value.

    Args:
        values: Numbers.
        share: Above 0, at most 1; what lies beyond becomes the threshold.
        bits: 2 to 16.
        axis: Axis of the channels; None for one grid.

    Raises:
        PlanError: For a share out of range.
    """
    if isinstance(share, bool | str) or not 0 < share <= 1:
        raise PlanError(f"share is {share!r}. Expected above 0, at most 1. Fix: share=0.9.")
    return symmetric_grid(share * _over(np.max, np.abs(_finite(values)), axis), bits)


def mean_squared_error(values: ArrayLike, grid: Grid, axis: int | None = None) -> Floats:
    """Mean squared difference between values and what a grid makes of them, of all or for each channel."""
    values = np.asarray(values, dtype=np.float64)
    return np.asarray(_over(np.mean, (values - grid.fake_quantize(values)) ** 2, axis), dtype=np.float64)


def require_bits(bits: int) -> int:
    """The number of levels.

    Raises:
        PlanError: For bits other than 2 to 16.
    """
    if isinstance(bits, bool) or not isinstance(bits, int | np.integer) or not FEWEST_BITS <= bits <= MOST_BITS:
        raise PlanError(f"bits is {bits!r}. Expected {FEWEST_BITS} to {MOST_BITS}. Fix: bits=8.")
    return int(2 ** int(bits))


def _over(reduce: Any, values: Floats, axis: int | None) -> Floats:
    """A statistic of all values, or of each slice along `axis`, shaped to broadcast over them."""
    if values.size == 0:
        raise PlanError("there are no values to lay a grid over. Expected at least one. Fix: check the array's shape.")
    if axis is None:
        return np.asarray(reduce(values))
    if not -values.ndim <= axis < values.ndim:
        raise PlanError(
            f"axis is {axis} for values of shape {values.shape}. Expected one of 0 to {values.ndim - 1}. Fix: "
            "axis=-1 for the outputs of a Dense kernel, or None for one grid."
        )
    others = tuple(other for other in range(values.ndim) if other != axis % values.ndim)
    return np.asarray(reduce(values, axis=others, keepdims=True))


def _finite(values: ArrayLike) -> Floats:
    numbers = np.asarray(values, dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise PlanError(
            f"{int((~np.isfinite(numbers)).sum()):,} of {numbers.size:,} values are not finite. Expected numbers. "
            "Fix: replace NaN and infinity first; no grid has a level for them."
        )
    return numbers


def _positive(scale: Floats) -> Floats:
    """Scales, 1 where every value is zero or too small to divide by."""
    return np.where(scale > np.finfo(np.float64).tiny, scale, 1.0)
