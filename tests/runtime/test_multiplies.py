"""Multiplications of a file."""

from __future__ import annotations

import pytest

from tfshop._keras import keras
from tfshop.data import Splits
from tfshop.export import Export, convert
from tfshop.models import build_model
from tfshop.runtime.multiplies import count_multiplies


@pytest.mark.parametrize("mode", ["float32", "int8"])
def test_a_tower_costs_one_multiplication_a_weight(mode: str, dense_clicks: Splits) -> None:
    model = build_model("mlp", dense_clicks.schema, dimension=8, hidden=(32, 16))
    content = Export(mode, 128).to_bytes(model, dense_clicks)
    assert count_multiplies(content) == 3 * 8 * 32 + 32 * 16 + 16


def test_a_layer_that_runs_for_each_of_several_positions_costs_as_often() -> None:
    inputs = keras.Input((5, 4), name="rows")
    content = convert(keras.Model(inputs, keras.layers.Dense(3)(inputs)), "float32")
    assert count_multiplies(content) == 5 * 4 * 3


def test_products_of_all_pairs_are_counted() -> None:
    """(5, 4) with its own transpose: 25 sums over four."""
    inputs = keras.Input((5, 4), name="rows")
    content = convert(keras.Model(inputs, keras.layers.Dot(axes=2)([inputs, inputs])), "float32")
    assert count_multiplies(content) == 5 * 5 * 4
