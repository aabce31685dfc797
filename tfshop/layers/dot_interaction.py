"""Dot products of all pairs of fields."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfshop._keras import keras, tf


@keras.utils.register_keras_serializable(package="tfshop")
class DotInteraction(keras.layers.Layer):
    """Dot product of each pair of fields i < j: one matrix product, and a gather of its upper triangle.

    Call:
        fields: float32 (batch, num_fields, dimension), at least two fields.
        Returns float32 (batch, num_fields * (num_fields - 1) / 2), in the order (0, 1), (0, 2) … (1, 2) …

    Example:
        >>> DotInteraction()(tf.constant([[[1.0, 0.0], [2.0, 5.0], [3.0, 1.0]]])).numpy().tolist()
        [[2.0, 3.0, 11.0]]

    References:
        Naumov et al., Deep Learning Recommendation Model for Personalization and Recommendation Systems, 2019.
    """

    def call(self, fields: Any) -> Any:
        """Multiply all pairs."""
        num_fields = fields.shape[1]
        left, right = np.triu_indices(num_fields, k=1)
        products = tf.matmul(fields, fields, transpose_b=True)
        return tf.gather(tf.reshape(products, [-1, num_fields**2]), left * num_fields + right, axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(batch, number of pairs)."""
        return (input_shape[0], input_shape[1] * (input_shape[1] - 1) // 2)
