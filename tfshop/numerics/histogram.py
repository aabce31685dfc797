"""A histogram of numbers that come in batches, in memory that does not grow."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 4096
_EDGE_SLACK = 1e-9


class Histogram:
    """Counts and means of bins of equal width; where a batch goes beyond the ends, bins are merged in pairs.

    Numbers that are not finite are left out. A bin stands for the mean of what fell into it, so that a bin of zeros
    stands for zero exactly.

    Args:
        bins: How many bins, an even number.

    Example:
        >>> histogram = Histogram(bins=8)
        >>> histogram.add([0.0, 1.0, 2.0]); histogram.add([-5.0])
        >>> histogram.minimum, histogram.maximum, histogram.count
        (-5.0, 2.0, 4)
    """

    def __init__(self, bins: int = BINS) -> None:
        self._counts = np.zeros(bins, np.int64)
        self._sums = np.zeros(bins, np.float64)
        self._low = 0.0
        self._width = 0.0  # of a bin; 0 before anything was added
        self.minimum = np.inf
        self.maximum = -np.inf

    def add(self, values: ArrayLike) -> None:
        """Count one batch."""
        numbers = np.asarray(values, dtype=np.float64).ravel()
        numbers = numbers[np.isfinite(numbers)]
        if numbers.size == 0:
            return
        low, high = float(numbers.min()), float(numbers.max())
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)
        self._make_room(low, high)
        bins = np.clip(((numbers - self._low) / self._width).astype(np.int64), 0, self._counts.size - 1)
        self._counts += np.bincount(bins, minlength=self._counts.size)
        self._sums += np.bincount(bins, weights=numbers, minlength=self._counts.size)

    @property
    def count(self) -> int:
        """How many numbers were counted."""
        return int(self._counts.sum())

    @property
    def width(self) -> float:
        """Width of a bin."""
        return self._width

    def filled(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Mean and count of each bin that holds anything, in ascending order."""
        filled = self._counts > 0
        return self._sums[filled] / self._counts[filled], self._counts[filled]

    def between(self, low: float, high: float, bins: int) -> NDArray[np.float64]:
        """Counts of `bins` even bins from `low` to `high`, what lies beyond in the first and the last."""
        means, counts = self.filled()
        places = np.floor((means - low) / max(high - low, np.finfo(float).tiny) * bins).astype(np.int64)
        return np.bincount(np.clip(places, 0, bins - 1), weights=counts, minlength=bins).astype(np.float64)

    def _make_room(self, low: float, high: float) -> None:
        if self._width == 0.0:
            self._low = low
            self._width = max(high - low, abs(low) * _EDGE_SLACK, np.finfo(np.float32).tiny) / self._counts.size
        while low < self._low:
            self._merge(downwards=True)
        while high > self._low + self._width * self._counts.size * (1 + _EDGE_SLACK):
            self._merge(downwards=False)

    def _merge(self, *, downwards: bool) -> None:
        """Twice the width: pairs of bins become one, in the upper or the lower half."""
        half = self._counts.size // 2
        for array in (self._counts, self._sums):
            pairs = array.reshape(half, 2).sum(axis=1)
            array[:] = 0
            array[half:] = pairs if downwards else 0
            array[:half] = 0 if downwards else pairs
        if downwards:
            self._low -= self._width * self._counts.size
        self._width *= 2
