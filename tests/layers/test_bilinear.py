"""Bilinear products of pairs against a loop over them."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from layers.references import normal, random_model
from tfshop.layers import bilinear_pairs
from tfshop.layers.bilinear import BILINEAR_KINDS


def matrix_of(kind: str, kernel: np.ndarray, pair: int, left: int) -> np.ndarray:
    return {"all": kernel, "each": kernel[left % len(kernel)], "interaction": kernel[pair % len(kernel)]}[kind]


@pytest.mark.parametrize("kind", BILINEAR_KINDS)
@pytest.mark.parametrize("num_fields", [2, 5])
def test_every_pair_is_multiplied_through_its_matrix(kind: str, num_fields: int) -> None:
    model = random_model(lambda fields: bilinear_pairs(fields, kind, name="pairs"), [(num_fields, 3)])
    (kernel,) = model.get_layer("pairs_kernel").get_weights()
    fields = normal(4, num_fields, 3)
    expected = np.stack(
        [
            (fields[:, i] @ matrix_of(kind, kernel, pair, i)) * fields[:, j]
            for pair, (i, j) in enumerate(combinations(range(num_fields), 2))
        ],
        axis=1,
    )
    np.testing.assert_allclose(model(fields), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "shape"), [("all", (3, 3)), ("each", (4, 3, 3)), ("interaction", (10, 3, 3))])
def test_there_is_no_matrix_that_no_pair_uses(kind: str, shape: tuple[int, ...]) -> None:
    """Of five fields, the last is on the left of no pair."""
    model = random_model(lambda fields: bilinear_pairs(fields, kind, name="pairs"), [(5, 3)])
    assert [weight.shape for weight in model.get_weights()] == [shape]
