"""A trained vector that is added: the constant of a linear model, the bias of a cross."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras


@keras.utils.register_keras_serializable(package="tfshop")
class Bias(keras.layers.Layer):
    """Add one trained number to each column; all start at zero.

    Call:
        values: float32 (batch, width). Returns the same shape.

    Example:
        >>> Bias()(keras.backend.ones((2, 1))).numpy().tolist()
        [[1.0], [1.0]]
    """

    def build(self, input_shape: Any) -> None:
        """Make the vector."""
        self.bias = self.add_weight("bias", shape=(input_shape[-1],), initializer="zeros")
        super().build(input_shape)

    def call(self, values: Any) -> Any:
        """Shift values (batch, width)."""
        return values + self.bias
