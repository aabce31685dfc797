"""What is peculiar to MaskNet."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import first_rows

from models.crossing_checks import dead_weights, largest_gap, output_of, spread
from tfshop.data import Splits
from tfshop.errors import ModelError
from tfshop.models import build_model

TINY = {"dimension": 4, "hidden": (16, 8)}


def test_serial_blocks_read_one_another_and_the_whole_example(kinds: dict[str, Splits]) -> None:
    data = kinds["every kind"]
    model = build_model("masknet", data.schema, structure="serial", **TINY)
    assert [model.get_layer(f"block_{level}_hidden").units for level in range(2)] == [16, 8]
    assert model.get_layer("block_1_mask").units == 16
    for kernel in ("aggregation", "aggregation_numeric"):
        assert model.get_layer(f"block_0_{kernel}").input is model.get_layer(f"block_1_{kernel}").input
    assert dead_weights(model, data) == []
    assert largest_gap(spread(model), data) <= 1e-5


def test_parallel_blocks_read_the_same_and_a_tower_reads_them(kinds: dict[str, Splits]) -> None:
    model = build_model("masknet", kinds["every kind"].schema, num_blocks=2, block_width=5, reduction=0.5, **TINY)
    assert model.get_layer("dense_0").kernel.shape[0] == 10
    assert model.get_layer("block_0_product").input[1] is model.get_layer("block_1_product").input[1]
    width = model.get_layer("normalized").output.shape[1]
    assert model.get_layer("block_0_aggregation").units == round(width / 2)


def test_a_numbers_size_is_not_normalized_away(kinds: dict[str, Splits]) -> None:
    data = kinds["every kind"]
    model = spread(build_model("masknet", data.schema, **TINY))
    rows = first_rows(data.train.inputs, 2)
    rows["numeric"] = np.float32([[0.5, 1.0], [0.5, 2.0]])
    numbers = output_of(model, "numeric_transform", rows)
    np.testing.assert_array_equal(output_of(model, "normalized", rows)[:, -numbers.shape[1] :], numbers)


def test_what_cannot_be_normalized_or_built_is_refused(kinds: dict[str, Splits]) -> None:
    for settings, message in (
        ({"dimension": 1}, "dimension is 1. Expected an integer of at least 2"),
        ({"structure": "stacked"}, "structure is 'stacked'. Expected one of parallel, serial"),
        ({"reduction": 0}, "reduction is 0. Expected a number above 0"),
        ({"num_blocks": 0}, "num_blocks is 0"),
        ({"dropout": 1.0, "structure": "serial"}, "dropout is 1.0"),
    ):
        with pytest.raises(ModelError, match=rf"{message}.*Fix:"):
            build_model("masknet", kinds["ids"].schema, **{**TINY, **settings})
