"""Raw numbers become scaled ones inside the graph."""

from __future__ import annotations

import numpy as np
import pytest

from tfshop.layers import NumericTransform

INFINITE = float("inf")


def make_transform(**changes: object) -> NumericTransform:
    """Two columns that pass unchanged, unless told otherwise."""
    settings = {
        "logarithmic": [False, False],
        "center": [0.0, 0.0],
        "scale": [1.0, 1.0],
        "fill": [0.0, 0.0],
        "limit": [INFINITE, INFINITE],
    }
    return NumericTransform(**{**settings, **changes})


def test_a_number_is_centred_and_then_scaled() -> None:
    transform = make_transform(center=[10.0, -1.0], scale=[0.5, 2.0])
    assert transform(np.float32([[12.0, 3.0]])).numpy().tolist() == [[1.0, 8.0]]


@pytest.mark.parametrize("logarithmic", [[True, True], [True, False], [False, True]])
def test_the_logarithm_keeps_the_sign_and_touches_only_its_own_columns(logarithmic: list[bool]) -> None:
    values = np.float32([[-7.0, 7.0], [0.0, 1e6], [1e-3, -1e-3]])
    expected = np.where(logarithmic, np.sign(values) * np.log1p(np.abs(values)), values)
    found = make_transform(logarithmic=logarithmic)(values).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_a_missing_number_becomes_the_fill_and_no_other_number_does() -> None:
    transform = make_transform(center=[5.0, 5.0], scale=[2.0, 2.0], fill=[0.25, -4.0])
    found = transform(np.float32([[np.nan, np.nan], [5.0, np.nan]])).numpy()
    assert found.tolist() == [[0.25, -4.0], [0.0, -4.0]]


def test_outliers_are_cut_on_both_sides_at_the_limit_of_their_own_column() -> None:
    found = make_transform(limit=[5.0, INFINITE])(np.float32([[900.0, 900.0], [-900.0, -900.0], [4.0, 4.0]])).numpy()
    assert found.tolist() == [[5.0, 900.0], [-5.0, -900.0], [4.0, 4.0]]


def test_a_column_with_holes_has_a_flag_behind_the_numbers() -> None:
    found = make_transform(indicators=[1])(np.float32([[1.0, np.nan], [np.nan, 2.0]])).numpy()
    assert found.tolist() == [[1.0, 0.0, 1.0], [0.0, 2.0, 0.0]]


def test_the_transform_is_made_again_from_its_configuration() -> None:
    transform = make_transform(
        logarithmic=[True, False], center=[1, 2], fill=[3, 4], limit=[5, INFINITE], indicators=[0]
    )
    values = np.float32([[3.0, np.nan], [np.nan, 80.0]])
    again = NumericTransform.from_config(transform.get_config())
    np.testing.assert_array_equal(transform(values), again(values))


def test_outliers_are_moved_to_the_limits_before_the_transform():
    layer = NumericTransform(
        [True, False], [0.0, 0.0], [1.0, 1.0], [7.0, 8.0], [np.inf] * 2, low=[-np.inf, -1.0], high=[10.0, np.inf]
    )
    values = np.array([[1000.0, -5.0], [np.nan, 1e30], [-3.0, 0.5]], np.float32)
    expected = [[np.log(11.0), -1.0], [7.0, 1e30], [-np.log(4.0), 0.5]]
    np.testing.assert_allclose(layer(values), expected, rtol=1e-5)
    again = NumericTransform.from_config(layer.get_config())
    np.testing.assert_array_equal(again(values), layer(values))


def test_a_layer_saved_before_there_were_limits_still_loads():
    config = NumericTransform([False], [0.0], [1.0], [0.0], [np.inf]).get_config()
    del config["low"], config["high"]
    assert NumericTransform.from_config(config)(np.array([[1e6]], np.float32)).numpy().tolist() == [[1e6]]
