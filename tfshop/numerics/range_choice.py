"""Which range of an activation gets the levels: all of it, or less for finer steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from tfshop.errors import PlanError
from tfshop.numerics.grid import asymmetric_grid, require_bits
from tfshop.numerics.histogram import Histogram

PERCENTILE = 99.99
# Shares of an end that are tried: fine steps down to a half, then ever smaller for heavy tails.
KEPT = np.append(np.linspace(1.0, 0.5, 21), np.geomspace(0.45, 0.005, 24))
ROUNDS = 3  # of cutting off one end and the other in turn
BINS_A_LEVEL = 8
Range = tuple[float, float]


def choose_range(histogram: Histogram, method: str, bits: int = 8, percentile: float = PERCENTILE) -> Range:
    """Lowest and highest number that the levels are to reach; zero is always between them.

    Args:
        histogram: Of what was seen.
        method: "minmax": everything. "percentile": all but the outermost of each side. "mse": the range with the
            least squared error of the asymmetric grid. "entropy": the symmetric threshold with the least
            Kullback-Leibler divergence between what was seen and what the levels can tell apart.
        bits: 2 to 16; the last two methods depend on it.
        percentile: Share, in percent, that "percentile" keeps on each side.

    Raises:
        PlanError: For an unknown method, or a histogram of nothing.

    Example:
        >>> histogram = Histogram()
        >>> histogram.add(np.append(np.random.default_rng(0).normal(size=10_000), 100.0))
        >>> low, high = choose_range(histogram, "mse", bits=4)
        >>> -5 < low < -2 and 2 < high < 60
        True

    References:
        Krishnamoorthi, Quantizing deep convolutional networks for efficient inference, 2018 (min-max, percentile).
        Migacz, 8-bit Inference with TensorRT, GTC 2017 (entropy). Banner et al., Post training 4-bit quantization of
        convolutional networks for rapid-deployment, NeurIPS 2019 (mean squared error).
    """
    if method not in RANGE_METHODS:
        raise PlanError(f"ranges is {method!r}. Expected one of {', '.join(RANGE_METHODS)}. Fix: 'mse'.")
    require_bits(bits)
    if histogram.count == 0:
        raise PlanError("no finite number was seen. Expected some to choose a range from. Fix: look at the data.")
    low, high = min(histogram.minimum, 0.0), max(histogram.maximum, 0.0)
    if low == high:
        return low, high
    return _CHOOSERS[method](histogram, (low, high), bits, percentile)


def _minmax(histogram: Histogram, whole: Range, bits: int, percentile: float) -> Range:
    return whole


def _percentile(histogram: Histogram, whole: Range, bits: int, percentile: float) -> Range:
    """All but a share of the numbers on each side."""
    means, counts = histogram.filled()
    below = np.cumsum(counts) / counts.sum()
    kept = percentile / 100
    low = means[np.searchsorted(below, 1 - kept)] if below[0] <= 1 - kept else whole[0]
    high = means[min(int(np.searchsorted(below, kept)), means.size - 1)] if kept < 1 else whole[1]
    return max(whole[0], min(float(low), 0.0)), min(whole[1], max(float(high), 0.0))


def _mse(histogram: Histogram, whole: Range, bits: int, percentile: float) -> Range:
    """Cut off one end and the other in turn, as far as the error falls."""
    low, high = whole
    for _ in range(ROUNDS):
        before = (low, high)
        highs = whole[1] * KEPT
        high = float(highs[np.argmin(squared_errors(histogram, np.full(highs.shape, low), highs, bits))])
        lows = whole[0] * KEPT
        low = float(lows[np.argmin(squared_errors(histogram, lows, np.full(lows.shape, high), bits))])
        if (low, high) == before:
            break
    return low, high


def squared_errors(
    histogram: Histogram, lows: NDArray[np.float64], highs: NDArray[np.float64], bits: int
) -> NDArray[np.float64]:
    """Mean squared error of the asymmetric grid of each range, as far as the histogram tells.

    Steps narrower than two bins err by a twelfth of their square, as a number anywhere between two levels does.
    """
    means, counts = histogram.filled()
    grid = asymmetric_grid(lows[:, None], highs[:, None], bits)
    errors = (means - grid.fake_quantize(means)) ** 2
    fine = (grid.scale < 2 * histogram.width) & (means >= grid.minimum) & (means <= grid.maximum) & (means != 0)
    errors = np.where(fine, grid.scale**2 / 12, errors)
    return np.asarray(errors @ counts / counts.sum())


def _entropy(histogram: Histogram, whole: Range, bits: int, percentile: float) -> Range:
    """Of symmetric thresholds, the one whose levels keep the distribution best; ties keep the wider."""
    largest = max(-whole[0], whole[1])
    ranges = [(max(whole[0], -largest * share), min(whole[1], largest * share)) for share in KEPT]
    losses = [_divergence(histogram, chosen, 2**bits) for chosen in ranges]
    return ranges[int(np.argmin(losses))]


def _divergence(histogram: Histogram, chosen: Range, levels: int) -> float:
    """KL divergence from the clipped distribution to the one that has one height for all filled bins of a level.

    The spike at zero, which every grid keeps exactly, gets the height of its neighbours.
    """
    resolved = int(np.ceil((chosen[1] - chosen[0]) / histogram.width))  # finer bins than what was counted are empty
    bins = histogram.between(*chosen, min(levels * BINS_A_LEVEL, resolved))
    inside = _inside(histogram, chosen, bins.size)
    zero = int(np.clip(-chosen[0] / (chosen[1] - chosen[0]) * bins.size, 0, bins.size - 1))
    neighbours = [bins[near] for near in (zero - 1, zero + 1) if 0 <= near < bins.size]
    for array in (bins, inside):
        array[zero] = min(array[zero], max(neighbours, default=0.0))
    starts = np.unique(np.linspace(0, bins.size, levels, endpoint=False).astype(int))
    filled = (bins > 0).astype(float)
    sums, sizes = np.add.reduceat(inside, starts), np.add.reduceat(filled, starts)
    spread = np.repeat(sums / np.maximum(sizes, 1), np.diff(np.append(starts, bins.size))) * filled
    reference, model = bins / max(bins.sum(), 1), spread / max(spread.sum(), 1e-12)
    seen = reference > 0
    return float(np.sum(reference[seen] * np.log(reference[seen] / np.maximum(model[seen], 1e-12))))


def _inside(histogram: Histogram, chosen: Range, bins: int) -> NDArray[np.float64]:
    """Counts of what lies within a range, what was clipped left out."""
    means, counts = histogram.filled()
    held = (means >= chosen[0]) & (means <= chosen[1])
    places = np.floor((means[held] - chosen[0]) / (chosen[1] - chosen[0]) * bins).astype(np.int64)
    return np.bincount(np.clip(places, 0, bins - 1), weights=counts[held], minlength=bins).astype(float)


_CHOOSERS: Mapping[str, Callable[[Histogram, Range, int, float], Range]] = {
    "minmax": _minmax,
    "percentile": _percentile,
    "mse": _mse,
    "entropy": _entropy,
}
RANGE_METHODS = tuple(_CHOOSERS)
