"""The scale that loses least: rounding to levels as a regression."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tfshop.errors import PlanError
from tfshop.numerics.grid import Floats, Grid, mean_squared_error, symmetric, symmetric_grid

METHODS = ("auto", "exact", "alternating")
MOST_CROSSINGS = 2**22  # of one channel; each takes some 60 bytes while they are sorted
BLOCK_CROSSINGS = 2**14  # of the channels that are sorted at once
STARTS = np.linspace(0.2, 1.0, 17)  # shares of the largest value that the alternation starts from
MOST_ROUNDS = 30


def least_squares(values: ArrayLike, bits: int = 8, axis: int | None = None, *, method: str = "auto") -> Grid:
    r"""The symmetric grid with the least squared error: of all values, or one for each channel along `axis`.

    With levels q fixed, the best scale is s = \sum xq / \sum q^2 and its error \sum x^2 - (\sum xq)^2 / \sum q^2.
    The levels change only where x/s crosses a half, so "exact" sorts these crossings and tries every assignment of
    levels: n 2^(bits-1) log of work. "alternating" rounds and regresses in turn, from several starts (Lloyd's
    iteration on an even grid), and never worse than the min-max grid either. "auto" is exact where a channel has at
    most four million crossings, numbers times levels of one sign, and else alternates.

    Args:
        values: Numbers.
        bits: 2 to 16.
        axis: Axis of the channels; None for one grid.
        method: "auto", "exact" or "alternating".

    Raises:
        PlanError: For an unknown method, other bits, values that are not finite.

    Example:
        >>> values = np.array([0.1, 0.2, -0.2, 1.0])
        >>> grid = least_squares(values, bits=3)
        >>> bool(mean_squared_error(values, grid) <= mean_squared_error(values, symmetric(values, bits=3)))
        True

    References:
        Max, Quantizing for minimum distortion, 1960. Hubara et al., Accurate Post Training Quantization With Small
        Calibration Sets, ICML 2021.
    """
    if method not in METHODS:
        raise PlanError(f"method is {method!r}. Expected one of {', '.join(METHODS)}. Fix: method='auto'.")
    values = np.asarray(values, dtype=np.float64)
    start = symmetric(values, bits, axis)
    channel_size = values.size if axis is None else values.size // values.shape[axis]
    if method == "alternating" or (method == "auto" and channel_size * start.highest > MOST_CROSSINGS):
        scale = _alternate(values, start, axis)
    elif axis is None:
        scale = _exact(values.reshape(1, -1), start.highest).reshape(())
    else:
        channels = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
        scale = _exact(channels, start.highest).reshape(start.scale.shape)
    return symmetric_grid(scale * start.highest, bits)


def _exact(channels: Floats, highest: int) -> Floats:
    """Scale of each channel's best assignment of the levels 0 … highest to absolute values, (channels,)."""
    together = max(1, BLOCK_CROSSINGS // (channels.shape[1] * highest))
    blocks = range(0, len(channels), together)
    return np.concatenate([_exact_of_block(channels[start : start + together], highest) for start in blocks])


def _exact_of_block(channels: Floats, highest: int) -> Floats:
    sizes, odd = np.abs(channels), np.arange(1, 2 * highest, 2)
    # Below its crossing, a value is rounded to the next level; that of a zero comes last and makes nothing better.
    crossings = (sizes[:, :, None] / (odd / -2)).reshape(len(sizes), -1)
    order = np.argsort(crossings, axis=1, kind="stable")
    squares = np.cumsum(np.tile(odd, channels.shape[1])[order], axis=1)  # each adds one more level of a value
    order += np.arange(len(sizes))[:, None] * crossings.shape[1]
    products = np.cumsum(np.repeat(sizes.ravel(), highest)[order], axis=1)
    best = np.argmax(products**2 / squares, axis=1)
    rows = np.arange(len(sizes))
    return np.where(sizes.any(axis=1), products[rows, best] / squares[rows, best], 1.0)


def _alternate(values: Floats, start: Grid, axis: int | None) -> Floats:
    """Round and regress in turn, from several starts; the best of each channel is kept."""
    best, least = start.scale, mean_squared_error(values, start, axis)
    for share in STARTS:
        scale = start.scale * share
        for _ in range(MOST_ROUNDS):
            grid = Grid(scale, start.zero_point, start.lowest, start.highest)
            fresh = _regressed(values, grid.quantize(values), scale, axis)
            if np.allclose(fresh, scale, rtol=1e-12, atol=0):
                break
            scale = fresh
        error = mean_squared_error(values, Grid(scale, start.zero_point, start.lowest, start.highest), axis)
        best, least = np.where(error < least, scale, best), np.minimum(error, least)
    return best


def _regressed(values: Floats, levels: NDArray[np.int64], scale: Floats, axis: int | None) -> Floats:
    axes = None if axis is None else tuple(other for other in range(values.ndim) if other != axis % values.ndim)
    products = np.sum(values * levels, axis=axes, keepdims=axis is not None)
    squares = np.sum(levels**2, axis=axes, keepdims=axis is not None)
    return np.where(squares > 0, products / np.maximum(squares, 1), scale)
