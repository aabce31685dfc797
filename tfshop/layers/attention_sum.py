"""A weighted mean whose weights a network computes."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras, tf


@keras.utils.register_keras_serializable(package="tfshop")
class AttentionSum(keras.layers.Layer):
    r"""Mean of values weighted by the softmax of their scores: `\sum_p softmax(s)_p x_p`.

    Call:
        inputs: [scores float32 (batch, length, 1) or (batch * length, 1), values float32 (batch, length, width)].
        Returns float32 (batch, width).

    Example:
        >>> AttentionSum()([tf.zeros((1, 2, 1)), tf.constant([[[2.0], [4.0]]])]).numpy().tolist()
        [[3.0]]

    References:
        Xiao et al., Attentional Factorization Machines, IJCAI 2017, equation 5.
    """

    def call(self, inputs: Any) -> Any:
        """Weigh values (batch, length, width) by their scores."""
        scores, values = inputs
        shares = tf.nn.softmax(tf.reshape(scores, (-1, 1, values.shape[1])))
        return tf.reshape(tf.matmul(shares, values), (-1, values.shape[2]))
