"""Grids of levels: the textbook's promises, over random numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tfshop._keras import tf
from tfshop.errors import PlanError
from tfshop.numerics import (
    Grid,
    asymmetric,
    asymmetric_grid,
    clipped,
    least_squares,
    mean_squared_error,
    symmetric,
    symmetric_grid,
)

numbers = st.floats(-1e4, 1e4, allow_nan=False, width=32).map(lambda x: 0.0 if abs(x) < 1e-3 else x)
matrices = arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(1, 6)), elements=numbers)
widths = st.integers(2, 16)
MAKERS = (asymmetric, symmetric, least_squares, lambda *a: least_squares(*a, method="alternating"))
quickly = settings(deadline=None, max_examples=60)


@quickly
@given(matrices, widths, st.sampled_from([None, 0, 1]))
def test_min_max_grids_err_by_half_a_step_at_most(values, bits, axis) -> None:
    for make in (asymmetric, symmetric):
        grid = make(values, bits, axis)
        assert (np.abs(grid.fake_quantize(values) - values) <= grid.scale * (0.5 + 1e-9) + 1e-12).all()


@quickly
@given(matrices, widths, st.sampled_from([None, 1]), st.sampled_from(MAKERS[:2]))
def test_what_lies_on_the_grid_stays_where_it_is(values, bits, axis, make) -> None:
    grid = make(values, bits, axis)
    once = grid.fake_quantize(values)
    np.testing.assert_allclose(grid.fake_quantize(once), once, rtol=1e-12)
    assert np.array_equal(grid.quantize(once), grid.quantize(values))


@quickly
@given(matrices, widths, st.sampled_from([None, 1]))
def test_zero_is_a_level_and_levels_are_in_range(values, bits, axis) -> None:
    grid = asymmetric(values, bits, axis)
    assert (grid.fake_quantize(np.zeros_like(values)) == 0).all()
    assert (grid.zero_point >= grid.lowest).all() and (grid.zero_point <= grid.highest).all()
    levels = grid.quantize(values * 3)
    assert levels.min() >= -(2 ** (bits - 1)) and levels.max() < 2 ** (bits - 1)
    assert grid.highest - grid.lowest == 2**bits - 1


@quickly
@given(matrices, st.integers(2, 8), st.sampled_from([None, 1]))
def test_least_squares_is_never_worse_than_any_other(values, bits, axis) -> None:
    exact = mean_squared_error(values, least_squares(values, bits, axis), axis)
    slack = 1e-9 * (1 + (values**2).max())
    others = [symmetric(values, bits, axis), *(clipped(values, share, bits, axis) for share in (0.3, 0.6, 0.9))]
    alternating = least_squares(values, bits, axis, method="alternating")
    assert all((exact <= mean_squared_error(values, grid, axis) + slack).all() for grid in [*others, alternating])
    plain = mean_squared_error(values, symmetric(values, bits, axis), axis)
    assert (mean_squared_error(values, alternating, axis) <= plain + slack).all()


@quickly
@given(matrices, widths)
def test_a_grid_a_channel_bounds_each_error_by_the_common_grids_step(values, bits) -> None:
    for make in (asymmetric, symmetric):
        alive = values.any(axis=0)  # the step of a channel of zeros is one
        steps = np.broadcast_to(make(values, bits, 1).scale, values.shape)[0]
        assert (steps[alive] <= make(values, bits).scale * (1 + 1e-12)).all()
        own = np.abs(make(values, bits, 1).fake_quantize(values) - values).max()
        assert own <= make(values, bits).scale * (0.5 + 1e-9) + 1e-12


@pytest.mark.parametrize("bits", [2, 4, 8, 12, 16])
@pytest.mark.parametrize("ends", [(-1.0, 3.0), (0.0, 6.0), (-2.5, 0.0), (-0.1, 100.0)])
def test_asymmetric_grids_are_those_of_tensorflow(bits: int, ends: tuple[float, float]) -> None:
    values = np.random.default_rng(bits).uniform(1.3 * ends[0] - 0.1, 1.3 * ends[1] + 0.1, 4000).astype(np.float32)
    wanted = tf.quantization.fake_quant_with_min_max_vars(values, *ends, num_bits=bits).numpy()
    grid = asymmetric_grid(*ends, bits)
    gaps = np.abs(grid.fake_quantize(values) - wanted)
    assert (gaps <= grid.scale * 1.01).all() and (gaps > grid.scale * 0.01).mean() < 2e-2, "only ties may differ"


@pytest.mark.parametrize("bits", [4, 8])
def test_a_grid_a_channel_is_that_of_tensorflow(bits: int) -> None:
    values = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32) * [0.1, 1, 10]
    low, high = values.min(axis=0), values.max(axis=0)
    wanted = tf.quantization.fake_quant_with_min_max_vars_per_channel(values, low, high, num_bits=bits).numpy()
    found = asymmetric(values, bits, axis=1)
    assert (np.abs(found.fake_quantize(values) - wanted) < found.scale * 1e-3).mean() > 0.99


def test_the_exact_scale_is_the_best_of_a_fine_search() -> None:
    values = np.random.default_rng(3).standard_t(3, 500)
    for bits in (2, 3, 4, 8):
        grid = least_squares(values, bits)
        searched = [mean_squared_error(values, clipped(values, share, bits)) for share in np.linspace(0.01, 1, 2000)]
        assert mean_squared_error(values, grid) <= min(searched) + 1e-12
        assert mean_squared_error(values, symmetric(values, bits)) > mean_squared_error(values, grid)


def test_the_alternation_starts_from_several_scales() -> None:
    """From the largest value alone it rests 3% above the least error here."""
    values = np.random.default_rng(0).standard_t(3, 500)
    least = mean_squared_error(values, least_squares(values, 4, method="exact"))
    assert mean_squared_error(values, least_squares(values, 4, method="alternating")) < 1.001 * least


def test_levels_are_integers_of_the_width_asked_for() -> None:
    grid = symmetric_grid([1.0, 2.0], 4)
    assert grid.quantize([9.0, -9.0]).tolist() == [7, -7] and grid.maximum.tolist() == pytest.approx([1.0, 2.0])
    assert symmetric_grid(1.0, 4, narrow=False).lowest == -8
    assert grid.quantize([0.5, 0.5]).dtype == np.int64 and isinstance(grid, Grid)


def test_bits_may_come_from_an_array() -> None:
    values = np.linspace(-1, 1, 50)
    errors = [float(mean_squared_error(values, symmetric(values, bits))) for bits in np.arange(2, 17)]
    assert errors == sorted(errors, reverse=True)


def test_least_squares_alternates_where_trying_all_would_take_too_much_memory() -> None:
    values = np.random.default_rng(0).normal(size=3000)
    many, few = least_squares(values, 16), least_squares(values, 4)
    assert many.scale == least_squares(values, 16, method="alternating").scale
    assert few.scale == least_squares(values, 4, method="exact").scale


def test_zeros_alone_stay_zeros() -> None:
    for make in MAKERS:
        assert (make(np.zeros((3, 2)), 8, 1).fake_quantize(np.zeros((3, 2))) == 0).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: asymmetric_grid(0, 1, 1), "bits is 1. Expected 2 to 16"),
        (lambda: symmetric_grid(1, 17), "bits is 17"),
        (lambda: symmetric([np.nan, 1.0]), "1 of 2 values are not finite"),
        (lambda: asymmetric([]), "no values"),
        (lambda: clipped([1.0], 0.0), "share is 0.0"),
        (lambda: clipped([1.0], "0.5"), "share is '0.5'"),
        (lambda: symmetric(np.ones((2, 3)), axis=2), "axis is 2 for values of shape"),
        (lambda: least_squares([1.0], method="newton"), "method is 'newton'"),
    ],
)
def test_what_has_no_grid_is_refused(make, message) -> None:
    with pytest.raises(PlanError, match=rf"{message}.*Fix:"):
        make()
