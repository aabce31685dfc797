"""Squeeze and excitation: the importance of each field, told from all of them."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras, tf
from tfshop.layers.fields import FieldScale


@keras.utils.register_keras_serializable(package="tfshop")
class FieldMean(keras.layers.Layer):
    """One number a field: the mean of its elements.

    Call:
        fields: float32 (batch, num_fields, dimension). Returns float32 (batch, num_fields).

    Example:
        >>> FieldMean()(tf.constant([[[1.0, 3.0], [0.0, 1.0]]])).numpy().tolist()
        [[2.0, 0.5]]
    """

    def call(self, fields: Any) -> Any:
        """Average the elements."""
        return tf.reduce_mean(fields, axis=2)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(batch, num_fields)."""
        return tuple(input_shape[:2])


def squeeze_excitation(fields: Any, reduction: int = 3) -> Any:
    r"""Fields times their importance `a = \sigma(W_2 ReLU(W_1 z))`, `z` the mean of each field.

    The outer activation is that of the squeeze-and-excitation network itself. FiBiNET was tried with a ReLU there,
    which can shut a field for good, or all of them, and then the int8 file has no range to give the product.

    Args:
        fields: float32 (batch, num_fields, dimension).
        reduction: The inner layer has `num_fields / reduction` units, at least 1.

    Returns:
        float32 (batch, num_fields, dimension).

    References:
        Huang et al., FiBiNET, RecSys 2019; Hu et al., Squeeze-and-Excitation Networks, CVPR 2018.
    """
    num_fields = fields.shape[1]
    means = FieldMean(name="squeeze")(fields)
    units = max(1, num_fields // reduction)
    inner = keras.layers.Dense(units, activation="relu", use_bias=False, name="excitation_0")(means)
    weights = keras.layers.Dense(num_fields, activation="sigmoid", use_bias=False, name="excitation_1")(inner)
    return FieldScale(name="reweight")([fields, weights])
