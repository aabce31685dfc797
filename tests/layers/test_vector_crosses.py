"""A vector cross against the formula of the paper."""

from __future__ import annotations

import numpy as np

from layers.references import normal, random_model
from tfshop.layers import vector_cross


def test_the_input_is_scaled_by_what_one_vector_says_of_the_state() -> None:
    model = random_model(lambda x0, x: vector_cross(x0, x, name="cross"), [(5,), (5,)])
    (kernel,), (bias,) = (model.get_layer(f"cross_{part}").get_weights() for part in ("kernel", "bias"))
    first, state = normal(4, 5), normal(4, 5, seed=2)
    expected = np.stack([first[row] * (state[row] @ kernel) + bias + state[row] for row in range(4)])
    np.testing.assert_allclose(model([first, state]), expected, rtol=1e-4, atol=1e-5)
