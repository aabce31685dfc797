"""Copies of models keep what `clone_model` drops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import first_rows, keras_scores, same_weights
from networks import SAMPLE

from tfshop._keras import keras
from tfshop.compression.rebuild import KeepZeros, copy_model, zero_masks
from tfshop.data import Splits
from tfshop.layers import OutputRange
from tfshop.models.rebuild import fresh, weights_by_name


@pytest.mark.parametrize("name", SAMPLE)
def test_a_copy_has_the_weights_and_shares_none(name: str, trained: Callable[[str], Any], clicks: Splits) -> None:
    model = trained(name)
    copied = copy_model(model)
    assert same_weights(model, copied)
    rows = first_rows(clicks.validation.inputs, 20)
    np.testing.assert_array_equal(keras_scores(copied, rows), keras_scores(model, rows))
    before = model.get_weights()
    copied.set_weights([np.zeros_like(weight) for weight in before])
    assert same_weights(model, before)


def test_a_layer_can_be_replaced_by_a_wrapper_that_gets_its_weights(trained_mlp: Any) -> None:
    def replace(layer: Any) -> Any:
        return OutputRange(fresh(layer), 0.0, 1.0) if layer.name == "dense_1" else fresh(layer)

    wrapped = copy_model(trained_mlp, replace).get_layer("dense_1")
    assert type(wrapped) is OutputRange
    assert same_weights(wrapped.layer, trained_mlp.get_layer("dense_1"))
    assert set(weights_by_name(wrapped)) == {"kernel", "bias"}


def test_zeros_stay_zero_while_the_others_train() -> None:
    mask = np.float32([[1, 0], [0, 1], [1, 1]])
    x = keras.Input((3,))
    layer = keras.layers.Dense(2, kernel_constraint=KeepZeros(mask))
    model = keras.Model(x, layer(x))
    start = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32) * mask
    layer.set_weights([start, np.zeros(2)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    for _ in range(3):
        model.train_on_batch(np.ones((4, 3)), np.full((4, 2), 9.0))
    kernel = layer.get_weights()[0]
    assert (kernel[mask == 0] == 0).all() and (kernel[mask == 1] != start[mask == 1]).all()
    again = keras.constraints.deserialize(keras.constraints.serialize(layer.kernel_constraint))
    np.testing.assert_array_equal(again.mask, mask)


def test_masks_are_made_of_kernels_with_zeros_alone(trained_mlp: Any) -> None:
    model = copy_model(trained_mlp)
    assert zero_masks(model, ("dense_0", "dense_1")) == {}
    kernel, bias = model.get_layer("dense_1").get_weights()
    kernel[5] = 0.0
    model.get_layer("dense_1").set_weights([kernel, bias])
    masks = zero_masks(model, ("dense_0", "dense_1"))
    assert list(masks) == ["dense_1"]
    np.testing.assert_array_equal(masks["dense_1"], (kernel != 0).astype(np.float32))
