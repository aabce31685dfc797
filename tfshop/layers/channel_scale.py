"""A constant multiple for each column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop._keras import keras, tf


@keras.utils.register_keras_serializable(package="tfshop")
class ChannelScale(keras.layers.Layer):
    """Every column times a constant of its own, which no training moves.

    Args:
        factors: One number a column.

    Call:
        values: float32 (batch, …, len(factors)). Returns the same shape.

    Example:
        >>> ChannelScale([1.0, 0.5])(tf.ones((1, 2))).numpy().tolist()
        [[1.0, 0.5]]
    """

    def __init__(self, factors: Sequence[float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factors = [float(factor) for factor in factors]

    def call(self, values: Any) -> Any:
        """Multiply the columns."""
        return values * tf.constant(self.factors, values.dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "factors": self.factors}
