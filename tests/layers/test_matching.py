"""Unit length, columns and products a row."""

from __future__ import annotations

import numpy as np

from tfshop._keras import tf
from tfshop.layers import ColumnSelect, DotProduct, UnitLength


def test_vectors_get_length_one_and_a_missing_one_stays_zeros() -> None:
    vectors = np.float32([[3, 4], [0, 0], [1e-3, 0], [300, 400]])
    np.testing.assert_allclose(UnitLength()(vectors), [[0.6, 0.8], [0, 0], [1, 0], [0.6, 0.8]], rtol=1e-5)


def test_the_gradient_of_a_missing_vector_is_finite() -> None:
    vectors = tf.zeros((1, 3))
    with tf.GradientTape() as tape:
        tape.watch(vectors)
        total = tf.reduce_sum(UnitLength()(vectors))
    assert np.isfinite(tape.gradient(total, vectors)).all()


def test_columns_come_in_the_order_asked_for_and_keep_their_type() -> None:
    layer = ColumnSelect.from_config(ColumnSelect([2, 0]).get_config())
    found = layer(tf.constant([[1, 2, 3], [4, 5, 6]]))
    assert found.dtype == tf.int32 and found.numpy().tolist() == [[3, 1], [6, 4]]


def test_a_product_a_row_is_the_diagonal_of_the_matrix_product() -> None:
    one, other = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(DotProduct()([one, other])[:, 0], np.diag(one @ other.T), rtol=1e-5)
