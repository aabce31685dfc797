"""Numbers as fields."""

from __future__ import annotations

import numpy as np

from layers.references import normal, random_model
from tfshop.layers import NumericFields


def test_a_number_scales_the_vector_of_its_column() -> None:
    model = random_model(NumericFields(3, name="numbers"), [(2,)])
    (vectors,) = model.get_layer("numbers").get_weights()
    values = normal(4, 2)
    expected = [[values[row, column] * vectors[column] for column in range(2)] for row in range(4)]
    np.testing.assert_allclose(model(values), expected, rtol=1e-6)


def test_fresh_vectors_are_neither_zero_nor_alike() -> None:
    layer = NumericFields(3)
    layer.build((None, 2))
    (vectors,) = layer.get_weights()
    assert len(np.unique(vectors)) == 6 and np.abs(vectors).max() <= 0.05
