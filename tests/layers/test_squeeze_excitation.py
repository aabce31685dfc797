"""Importance of fields."""

from __future__ import annotations

import numpy as np
import pytest

from layers.references import normal, random_model, relu, sigmoid
from tfshop.layers import squeeze_excitation


def test_fields_are_weighted_by_what_all_their_means_say() -> None:
    model = random_model(lambda fields: squeeze_excitation(fields, 3), [(6, 4)])
    (inner,), (outer,) = (model.get_layer(f"excitation_{level}").get_weights() for level in range(2))
    fields = normal(5, 6, 4)
    for example in range(5):
        means = [fields[example, field].sum() / 4 for field in range(6)]
        importance = sigmoid(relu(np.array(means) @ inner) @ outer)
        expected = np.stack([importance[field] * fields[example, field] for field in range(6)])
        np.testing.assert_allclose(model(fields[example : example + 1])[0], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("num_fields", "reduction", "units"), [(2, 3, 1), (6, 3, 2), (26, 3, 8), (6, 1, 6)])
def test_the_inner_layer_is_narrower_by_the_reduction(num_fields: int, reduction: int, units: int) -> None:
    model = random_model(lambda fields: squeeze_excitation(fields, reduction), [(num_fields, 4)])
    assert model.get_layer("excitation_0").units == units
