"""Self-attention among fields against loops over heads and fields."""

from __future__ import annotations

import numpy as np
import pytest

from layers.references import normal, random_model, relu, softmax
from tfshop.layers import Reshaped, attend


@pytest.mark.parametrize("num_heads", [1, 2, 3])
def test_a_layer_computes_the_formula_of_the_paper(num_heads: int) -> None:
    width = 4
    model = random_model(
        lambda fields: attend(Reshaped((5,))(fields), 3, width=width, num_heads=num_heads, name="layer"), [(3, 5)]
    )
    kernels = {part: model.get_layer(f"layer_{part}").get_weights() for part in ("query", "key", "value", "residual")}
    assert all(len(weights) == 1 for weights in kernels.values())  # biases of keys would never learn
    fields = normal(6, 3, 5)
    query, key, value, residual = (fields @ kernels[part][0] for part in kernels)
    expected = np.zeros((6, 3, num_heads * width))
    for head in range(num_heads):
        part = slice(head * width, (head + 1) * width)
        for field in range(3):
            scores = np.stack([(query[:, field, part] * key[:, k, part]).sum(axis=1) for k in range(3)], axis=1)
            shares = softmax(scores)
            expected[:, field, part] = sum(shares[:, [k]] * value[:, k, part] for k in range(3))
    expected = relu(expected + residual).reshape(18, -1)
    np.testing.assert_allclose(model(fields), expected, rtol=1e-4, atol=1e-5)


def test_examples_do_not_look_at_one_another() -> None:
    model = random_model(lambda fields: attend(Reshaped((5,))(fields), 3, width=2, num_heads=2, name="layer"), [(3, 5)])
    fields = normal(6, 3, 5)
    np.testing.assert_allclose(model(fields)[3:6], model(fields[1:2]), rtol=1e-5, atol=1e-6)
