"""Factorization machines: all pairwise products of fields in linear time."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras, tf


@keras.utils.register_keras_serializable(package="tfshop")
class BiInteraction(keras.layers.Layer):
    r"""Sum over all pairs of fields of the element-wise product of their embeddings.

    .. math:: \sum_{i<j} v_i \odot v_j = \tfrac12 \left[(\sum_i v_i)^2 - \sum_i v_i^2\right]

    Call:
        fields: float32 (batch, num_fields, dimension). Returns float32 (batch, dimension).

    Example:
        >>> BiInteraction()(tf.ones((1, 3, 2))).numpy().tolist()  # three pairs, each (1, 1)
        [[3.0, 3.0]]

    References:
        He & Chua, Neural Factorization Machines for Sparse Predictive Analytics, SIGIR 2017.
    """

    def call(self, fields: Any) -> Any:
        """Pool the pairs of fields (batch, num_fields, dimension)."""
        total = tf.reduce_sum(fields, axis=1)
        return 0.5 * (total * total - tf.reduce_sum(fields * fields, axis=1))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(batch, dimension)."""
        return (input_shape[0], input_shape[2])


@keras.utils.register_keras_serializable(package="tfshop")
class FactorizationMachine(keras.layers.Layer):
    r"""Sum over all pairs of fields of the dot product of their embeddings.

    .. math:: \sum_{i<j} v_i \cdot v_j = \tfrac12 \sum_d \left[(\sum_i v_{id})^2 - \sum_i v_{id}^2\right]

    Call:
        fields: float32 (batch, num_fields, dimension). Returns float32 (batch, 1).

    Example:
        >>> FactorizationMachine()(tf.ones((1, 3, 2))).numpy().tolist()  # three pairs, each 2
        [[6.0]]

    References:
        Rendle, Factorization Machines, ICDM 2010.
    """

    def call(self, fields: Any) -> Any:
        """Second-order term of fields (batch, num_fields, dimension)."""
        total = tf.reduce_sum(fields, axis=1)
        squares = tf.reduce_sum(fields * fields, axis=1)
        return 0.5 * tf.reduce_sum(total * total - squares, axis=1, keepdims=True)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(batch, 1)."""
        return (input_shape[0], 1)
