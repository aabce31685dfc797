"""Fields rearranged."""

from __future__ import annotations

import numpy as np

from layers.references import normal, random_model
from tfshop.layers import FieldGather, FieldScale, dense_per_field

FIELDS = normal(4, 3, 5)


def test_fields_are_picked_in_the_order_asked_for() -> None:
    np.testing.assert_array_equal(FieldGather([2, 0, 2])(FIELDS), FIELDS[:, [2, 0, 2]])


def test_every_field_is_scaled_by_its_own_number() -> None:
    weights = normal(4, 3, seed=2)
    expected = [[FIELDS[e, f] * weights[e, f] for f in range(3)] for e in range(4)]
    np.testing.assert_allclose(FieldScale()([FIELDS, weights]), expected, rtol=1e-6)


def test_a_dense_layer_per_field_treats_each_of_them_alike() -> None:
    model = random_model(lambda fields: dense_per_field(fields, 2, name="kernel"), [(3, 5)])
    kernel, bias = model.get_layer("kernel").get_weights()
    assert kernel.shape == (5, 2)
    expected = np.stack([FIELDS[:, field] @ kernel + bias for field in range(3)], axis=1)
    np.testing.assert_allclose(model(FIELDS), expected, rtol=1e-4, atol=1e-5)
