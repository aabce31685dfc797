"""Ranges of activations from histograms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tfshop.errors import PlanError
from tfshop.numerics import RANGE_METHODS, Histogram, asymmetric_grid, choose_range, mean_squared_error
from tfshop.numerics.range_choice import KEPT, squared_errors


def seen(*batches) -> Histogram:
    histogram = Histogram()
    for batch in batches:
        histogram.add(batch)
    return histogram


def error(values, chosen, bits: int = 8) -> float:
    return float(mean_squared_error(values, asymmetric_grid(*chosen, bits)))


@pytest.fixture(scope="module")
def heavy() -> np.ndarray:
    """Mostly within 3, a few numbers near 200."""
    generator = np.random.default_rng(0)
    return np.append(generator.normal(size=100_000), [150.0, 200.0])


@settings(deadline=None, max_examples=50)
@given(
    st.lists(arrays(np.float64, st.integers(1, 30), elements=st.floats(-1e5, 1e5, width=32)), min_size=1, max_size=6)
)
def test_a_histogram_forgets_no_number_in_whatever_batches_they_come(batches) -> None:
    histogram, values = seen(*batches), np.concatenate(batches)
    assert histogram.count == values.size
    assert (histogram.minimum, histogram.maximum) == (values.min(), values.max())
    means, counts = histogram.filled()
    assert float(means @ counts) == pytest.approx(values.sum(), rel=1e-6, abs=1e-3)
    assert means.min() >= values.min() - 1e-6 * abs(values.min()) - 1e-9


def test_a_histogram_does_not_grow_and_leaves_out_what_is_no_number(heavy) -> None:
    histogram = Histogram(bins=64)
    for part in np.array_split(heavy, 10):
        histogram.add(part)
    histogram.add([np.nan, np.inf])
    assert histogram.count == heavy.size and len(histogram.filled()[0]) <= 64


def test_bins_hold_neighbours_wherever_batches_reach(heavy) -> None:
    """Sorted and cut by the bins' counts, numbers lie within a bin's width, around the bin's mean."""
    batches = np.array_split(heavy * np.linspace(0.1, 3.0, heavy.size), 9)  # both ends move on, time and again
    histogram = Histogram(bins=64)
    for batch in batches:
        histogram.add(batch)
    means, counts = histogram.filled()
    assert (np.diff(means) > 0).all()
    for part, mean in zip(np.split(np.sort(np.concatenate(batches)), np.cumsum(counts)[:-1]), means, strict=True):
        assert part.mean() == pytest.approx(mean, abs=1e-9) and np.ptp(part) <= histogram.width * (1 + 1e-9)


def test_min_max_is_all_of_it_and_percentile_leaves_out_the_tails(heavy) -> None:
    histogram = seen(heavy)
    assert choose_range(histogram, "minmax") == (heavy.min(), 200.0)
    low, high = choose_range(histogram, "percentile", percentile=99.0)
    assert low == pytest.approx(np.quantile(heavy, 0.01), abs=0.1)
    assert high == pytest.approx(np.quantile(heavy, 0.99), abs=0.1)
    assert choose_range(histogram, "percentile", percentile=100.0) == (heavy.min(), 200.0)


@pytest.mark.parametrize("bits", [2, 4, 6, 8])
def test_least_squared_error_is_what_it_says(heavy, bits: int) -> None:
    chosen = choose_range(seen(heavy), "mse", bits)
    others = [choose_range(seen(heavy), method, bits) for method in RANGE_METHODS]
    best = min(error(heavy, other, bits) for other in others)
    assert error(heavy, chosen, bits) <= best * 1.02
    assert error(heavy, chosen, bits) < error(heavy, choose_range(seen(heavy), "minmax"), bits) * 0.95
    tried = [(low, high) for low in heavy.min() * KEPT[:21:4] for high in 200.0 * KEPT[::2]]
    assert error(heavy, chosen, bits) <= min(error(heavy, one, bits) for one in tried) * 1.02
    mirrored = choose_range(seen(-heavy), "mse", bits)
    assert error(-heavy, mirrored, bits) == pytest.approx(error(heavy, chosen, bits), rel=1e-3)


@pytest.mark.parametrize("bits", [4, 8, 12])
def test_errors_of_a_histogram_are_those_of_its_numbers(bits: int) -> None:
    """Steps wider than bins, and narrower, where a bin's mean tells nothing of its numbers."""
    values = np.random.default_rng(3).normal(size=20_000)
    found = squared_errors(seen(values), np.full(3, -6.0), np.array([3.0, 6.0, 9.0]), bits)
    assert found == pytest.approx([error(values, (-6.0, high), bits) for high in (3.0, 6.0, 9.0)], rel=0.05)


def test_entropy_cuts_off_what_hardly_ever_happens(heavy) -> None:
    low, high = choose_range(seen(heavy), "entropy")
    assert 2 < high < 60 and low >= heavy.min()
    assert choose_range(seen(np.maximum(heavy, 0)), "entropy")[1] < 60, "a rectifier leaves the upper half"
    finer, coarse = (choose_range(seen(np.append(heavy, 20.0)[2:]), "entropy", bits) for bits in (8, 3))
    assert coarse[1] - coarse[0] < 0.9 * (finer[1] - finer[0]), "few levels are for where most numbers are"
    even = np.random.default_rng(1).uniform(-1, 1, 100_000)
    low, high = choose_range(seen(even), "entropy")
    assert low < -0.9 and high > 0.9, "an even distribution has no tail"


def test_a_spike_at_zero_does_not_draw_the_ends_together() -> None:
    """Every grid has zero, however many zeros there are."""
    values = np.random.default_rng(0).laplace(size=20_000)
    plain, spiked = (choose_range(seen(some), "entropy") for some in (values, np.append(values, np.zeros(200_000))))
    assert np.abs(spiked).min() > 0.8 * np.abs(plain).min()


@pytest.mark.parametrize("method", RANGE_METHODS)
def test_ranges_hold_zero_and_never_exceed_what_was_seen(method: str) -> None:
    generator = np.random.default_rng(2)
    for values in (
        generator.gamma(1, 1, 5000) + 1,
        -generator.gamma(1, 1, 5000),
        np.maximum(generator.normal(size=5000), 0),
    ):
        low, high = choose_range(seen(values), method)
        assert min(values.min(), 0) <= low <= 0 <= high <= max(values.max(), 0)
        assert high > low


def test_zeros_alone_have_no_range_and_nothing_is_refused() -> None:
    assert choose_range(seen(np.zeros(5)), "mse") == (0.0, 0.0)
    with pytest.raises(PlanError, match=r"no finite number.*Fix:"):
        choose_range(Histogram(), "mse")
    with pytest.raises(PlanError, match=r"ranges is 'median'.*Fix:"):
        choose_range(seen([1.0]), "median")
