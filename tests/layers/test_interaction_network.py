"""The compressed interaction network against the loops of its paper."""

from __future__ import annotations

import numpy as np
import pytest

from layers.references import normal, random_model
from tfshop.layers import interaction_network


def loops(fields: np.ndarray, kernels: list[np.ndarray]) -> np.ndarray:
    """Equation by equation: `X^k_h = sum_ij W^kh_ij (X^{k-1}_i * X^0_j)`, then the sum of each map."""
    previous, pooled = fields, []
    for kernel in kernels:
        maps = np.zeros((len(fields), kernel.shape[1], fields.shape[2]))
        for h in range(kernel.shape[1]):
            weights = kernel[:, h].reshape(previous.shape[1], fields.shape[1])
            for i in range(previous.shape[1]):
                for j in range(fields.shape[1]):
                    maps[:, h] += weights[i, j] * previous[:, i] * fields[:, j]
        pooled.append(maps.sum(axis=2))
        previous = maps
    return np.concatenate(pooled, axis=1)


@pytest.mark.parametrize("maps", [(2,), (3, 2), (2, 4, 3)])
def test_every_map_is_the_weighted_sum_of_all_products(maps: tuple[int, ...]) -> None:
    model = random_model(lambda fields: interaction_network(fields, maps), [(3, 4)])
    kernels = [model.get_layer(f"cross_{level}_kernel").get_weights()[0] for level in range(len(maps))]
    fields = normal(5, 3, 4)
    np.testing.assert_allclose(model(fields), loops(fields, kernels), rtol=1e-3, atol=1e-4)


def test_the_degree_of_the_products_grows_with_every_layer() -> None:
    """Twice the fields: four times the maps of the first layer, eight times those of the second."""
    model = random_model(lambda fields: interaction_network(fields, (2, 3)), [(3, 4)])
    once, twice = model(normal(5, 3, 4)).numpy(), model(2 * normal(5, 3, 4)).numpy()
    np.testing.assert_allclose(twice, once * [4, 4, 8, 8, 8], rtol=1e-4)
