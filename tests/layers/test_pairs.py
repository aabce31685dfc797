"""Products of all pairs of fields are those of the loop they replace."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from tfshop._keras import keras
from tfshop.export import convert
from tfshop.layers import FieldAwareProducts, InnerProducts, OuterProduct, PairwiseProducts
from tfshop.runtime import read_graph

each_number = pytest.mark.parametrize("num_fields", [2, 3, 9])


def some_fields(num_fields: int, width: int = 4) -> np.ndarray:
    return np.random.default_rng(num_fields).normal(size=(5, num_fields, width)).astype(np.float32)


@each_number
def test_inner_products_are_one_column_a_pair_in_row_order(num_fields: int) -> None:
    fields = some_fields(num_fields)
    expected = [(fields[:, i] * fields[:, j]).sum(axis=1) for i, j in combinations(range(num_fields), 2)]
    np.testing.assert_allclose(InnerProducts()(fields), np.stack(expected, axis=1), rtol=1e-4, atol=1e-5)


@each_number
def test_pairwise_products_are_one_row_a_pair_in_row_order(num_fields: int) -> None:
    fields = some_fields(num_fields)
    expected = [fields[:, i] * fields[:, j] for i, j in combinations(range(num_fields), 2)]
    np.testing.assert_allclose(PairwiseProducts()(fields), np.stack(expected, axis=1), rtol=1e-5)


@each_number
def test_the_outer_product_adds_up_those_of_all_pairs(num_fields: int) -> None:
    fields = some_fields(num_fields)
    matrix = sum(fields[:, i, :, None] * fields[:, j, None, :] for i in range(num_fields) for j in range(num_fields))
    rows, columns = np.triu_indices(4)
    np.testing.assert_allclose(OuterProduct()(fields), matrix[:, rows, columns], rtol=1e-3, atol=1e-4)


@each_number
def test_field_aware_products_take_from_each_field_the_vector_for_the_other(num_fields: int) -> None:
    others = num_fields - 1
    fields = some_fields(num_fields, others * 3)
    vectors = fields.reshape(5, num_fields, others, 3)
    expected = np.zeros(5)
    for i, j in combinations(range(num_fields), 2):
        of_i = [field for field in range(num_fields) if field != i].index(j)
        of_j = [field for field in range(num_fields) if field != j].index(i)
        expected += (vectors[:, i, of_i] * vectors[:, j, of_j]).sum(axis=1)
    np.testing.assert_allclose(FieldAwareProducts(3)(fields).numpy()[:, 0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("layer", "most"), [(InnerProducts(), 3), (PairwiseProducts(), 3), (OuterProduct(), 4), (FieldAwareProducts(4), 6)]
)
def test_the_number_of_operators_does_not_depend_on_the_number_of_fields(layer: keras.layers.Layer, most: int) -> None:
    counts = set()
    for num_fields in (3, 9):
        width = (num_fields - 1) * 4 if isinstance(layer, FieldAwareProducts) else 4
        fresh = type(layer).from_config(layer.get_config())
        fields = keras.Input((num_fields, width))
        graph = read_graph(convert(keras.Model(fields, fresh(fields)), "float32"))
        counts.add(len(graph.all_operators))
    assert len(counts) == 1 and counts.pop() <= most
