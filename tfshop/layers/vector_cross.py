"""Vector cross of the first Deep & Cross Network."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras, tf


@keras.utils.register_keras_serializable(package="tfshop")
class VectorCross(keras.layers.Layer):
    r"""`x_{l+1} = x_0 (w^T x_l) + b + x_l`: one degree more for two vectors of weights.

    Call:
        inputs: [x_0 (batch, width), x_l (batch, width)]. Returns float32 (batch, width).

    References:
        Wang et al., Deep & Cross Network for Ad Click Predictions, ADKDD 2017.
    """

    def build(self, input_shape: Any) -> None:
        """A vector and a bias."""
        width = input_shape[0][-1]
        self.kernel = self.add_weight("kernel", (width, 1), initializer="glorot_uniform")
        self.bias = self.add_weight("bias", (width,), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Cross once more."""
        first, crossed = inputs
        return first * tf.matmul(crossed, self.kernel) + self.bias + crossed

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(batch, width)."""
        return input_shape[0]
