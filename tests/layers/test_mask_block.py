"""Mask blocks against the formula of the paper."""

from __future__ import annotations

import numpy as np

from layers.references import normal, random_model, relu
from tfshop.layers import mask_block
from tfshop.layers.mask_block import EPSILON, normalized


def layer_norm(values: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    deviation = np.sqrt(values.var(axis=-1, keepdims=True) + EPSILON)
    return (values - values.mean(axis=-1, keepdims=True)) / deviation * scale + shift


def test_a_block_normalizes_its_masked_input_through_a_kernel() -> None:
    model = random_model(lambda x, a: mask_block(x, a, 3, name="block"), [(4,), (6,)])
    kernel, bias = model.get_layer("block_mask").get_weights()
    (hidden,) = model.get_layer("block_hidden").get_weights()
    values, aggregated = normal(5, 4), normal(5, 6, seed=2)
    masked = (aggregated @ kernel + bias) * values
    expected = relu(layer_norm(masked @ hidden, *model.get_layer("block_norm").get_weights()))
    np.testing.assert_allclose(model([values, aggregated]), expected, rtol=1e-3, atol=1e-4)


def test_every_field_is_normalized_by_itself() -> None:
    model = random_model(lambda fields: normalized(fields, name="norm"), [(3, 5)])
    scale, shift = model.get_layer("norm").get_weights()
    assert scale.shape == (5,)
    fields = normal(4, 3, 5) * [[[1], [10], [100]]]
    np.testing.assert_allclose(model(fields), layer_norm(fields, scale, shift), rtol=1e-3, atol=1e-4)
