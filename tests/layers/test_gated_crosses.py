"""Gated crosses against the formula of the paper."""

from __future__ import annotations

import numpy as np

from layers.references import normal, random_model, sigmoid
from tfshop.layers import cross_stack, gated_cross_stack


def test_three_crosses_compute_the_formula_of_the_paper() -> None:
    model = random_model(lambda x0: gated_cross_stack(x0, 3), [(5,)])
    values = normal(7, 5)
    expected = values
    for level in range(3):
        kernel, bias = model.get_layer(f"cross_{level}_kernel").get_weights()
        (gate,) = model.get_layer(f"cross_{level}_gate").get_weights()
        expected = values * (expected @ kernel + bias) * sigmoid(expected @ gate) + expected
    np.testing.assert_allclose(model(values), expected, rtol=1e-4, atol=1e-4)


def test_open_gates_leave_the_ungated_crosses() -> None:
    """With gates of zeros, half of each product passes: twice the kernels make up for it."""
    gated = random_model(lambda x0: gated_cross_stack(x0, 2), [(5,)])
    plain = random_model(lambda x0: cross_stack(x0, 2), [(5,)], seed=3)
    for level in range(2):
        doubled = [2 * weight for weight in plain.get_layer(f"cross_{level}_kernel").get_weights()]
        gated.get_layer(f"cross_{level}_kernel").set_weights(doubled)
        gated.get_layer(f"cross_{level}_gate").set_weights([np.zeros((5, 5))])
    np.testing.assert_allclose(gated(normal(4, 5)), plain(normal(4, 5)), rtol=1e-4, atol=1e-5)
