"""Fusion of two streams against a loop over heads."""

from __future__ import annotations

import numpy as np
import pytest

from layers.references import normal, random_model
from tfshop.layers import bilinear_fusion


@pytest.mark.parametrize("num_heads", [1, 2, 6])
def test_the_heads_bilinear_forms_are_added_up(num_heads: int) -> None:
    model = random_model(lambda x, y: bilinear_fusion(x, y, num_heads), [(6,), (12,)])
    (kernel,) = model.get_layer("fusion_kernel").get_weights()
    kernels = kernel.reshape(num_heads, 6 // num_heads, 12 // num_heads)
    first, second = normal(5, 6), normal(5, 12, seed=2)
    expected = np.zeros(5)
    for head in range(num_heads):
        x = np.split(first, num_heads, axis=1)[head]
        y = np.split(second, num_heads, axis=1)[head]
        for row in range(5):
            expected[row] += x[row] @ kernels[head] @ y[row]
    np.testing.assert_allclose(model([first, second])[:, 0], expected, rtol=1e-4, atol=1e-5)
