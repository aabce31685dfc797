"""Matrix crosses multiply the input with itself, one degree a layer."""

from __future__ import annotations

import numpy as np

from tfshop._keras import keras
from tfshop.layers import cross_stack


def test_three_crosses_compute_the_formula_of_the_paper() -> None:
    keras.utils.set_random_seed(0)
    x0 = keras.Input((5,))
    model = keras.Model(x0, cross_stack(x0, 3))
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=weight.shape) for weight in model.get_weights()])
    values = rng.normal(size=(7, 5)).astype(np.float32)
    expected = values
    for level in range(3):
        kernel, bias = model.get_layer(f"cross_{level}_kernel").get_weights()
        expected = values * (expected @ kernel + bias) + expected
    np.testing.assert_allclose(model(values), expected, rtol=1e-4, atol=1e-4)


def test_no_cross_is_the_input_itself() -> None:
    values = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(cross_stack(values, 0), values)
