"""Pairs of fields, each once, without a loop over them: a matrix product or two gathers, whatever their number."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfshop._keras import keras, tf


def pair_positions(num_fields: int) -> tuple[np.ndarray, np.ndarray]:
    """First and second field of each pair `i < j`, int32 (num_fields * (num_fields - 1) / 2,) each.

    Example:
        >>> [positions.tolist() for positions in pair_positions(3)]
        [[0, 0, 1], [1, 2, 2]]
    """
    first, second = np.triu_indices(num_fields, k=1)
    return first.astype(np.int32), second.astype(np.int32)


@keras.utils.register_keras_serializable(package="tfshop")
class InnerProducts(keras.layers.Layer):
    r"""Dot products `v_i \cdot v_j` of all pairs `i < j`: one matrix of all, of which the upper half is kept.

    Call:
        fields: float32 (batch, num_fields, dimension). Returns float32 (batch, num_pairs), pairs in row order.

    Example:
        >>> InnerProducts()(tf.constant([[[1.0], [2.0], [3.0]]])).numpy().tolist()
        [[2.0, 3.0, 6.0]]
    """

    def call(self, fields: Any) -> Any:
        """Multiply all pairs of fields (batch, num_fields, dimension)."""
        num_fields = fields.shape[1]
        first, second = pair_positions(num_fields)
        products = tf.matmul(fields, fields, transpose_b=True)
        return tf.gather(tf.reshape(products, (-1, num_fields * num_fields)), first * num_fields + second, axis=1)


@keras.utils.register_keras_serializable(package="tfshop")
class PairwiseProducts(keras.layers.Layer):
    r"""Element-wise products `v_i \odot v_j` of all pairs `i < j`.

    Call:
        fields: float32 (batch, num_fields, dimension). Returns float32 (batch, num_pairs, dimension).

    Example:
        >>> PairwiseProducts()(tf.constant([[[1.0, 2.0], [3.0, 4.0]]])).numpy().tolist()
        [[[3.0, 8.0]]]
    """

    def call(self, fields: Any) -> Any:
        """Multiply all pairs of fields (batch, num_fields, dimension)."""
        first, second = pair_positions(fields.shape[1])
        return tf.gather(fields, first, axis=1) * tf.gather(fields, second, axis=1)


@keras.utils.register_keras_serializable(package="tfshop")
class OuterProduct(keras.layers.Layer):
    r"""Outer products of all pairs of fields, added up: `(\sum_i v_i)(\sum_j v_j)^T`.

    The matrix is symmetric, so its upper half is returned, the diagonal included.

    Call:
        fields: float32 (batch, num_fields, dimension). Returns float32 (batch, dimension * (dimension + 1) / 2).

    Example:
        >>> OuterProduct()(tf.constant([[[1.0, 2.0], [0.0, 1.0]]])).numpy().tolist()  # of the sum (1, 3)
        [[1.0, 3.0, 9.0]]

    References:
        Qu et al., Product-based Neural Networks for User Response Prediction, ICDM 2016, section III-C.
    """

    def call(self, fields: Any) -> Any:
        """Superpose the outer products of fields (batch, num_fields, dimension)."""
        first, second = np.triu_indices(fields.shape[2])
        total = tf.reduce_sum(fields, axis=1)
        return tf.gather(total, first, axis=1) * tf.gather(total, second, axis=1)
