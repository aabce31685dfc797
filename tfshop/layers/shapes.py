"""Reshapes that convert to one operator: Keras' own reads the batch size out of the tensor first, with four."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop._keras import keras, tf


@keras.utils.register_keras_serializable(package="tfshop")
class Reshaped(keras.layers.Layer):
    """The same numbers in rows of another shape; the number of rows follows.

    Args:
        shape: Of one row, without the batch.

    Call:
        values: Any shape. Returns (rows, *shape).

    Example:
        >>> Reshaped((2,))(tf.constant([[1, 2, 3, 4]])).numpy().tolist()
        [[1, 2], [3, 4]]
    """

    def __init__(self, shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shape = [int(size) for size in shape]

    def call(self, values: Any) -> Any:
        """Lay values out in rows of `shape`."""
        return tf.reshape(values, (-1, *self.shape))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(rows, *shape); the number of rows is left open."""
        return (None, *self.shape)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "shape": self.shape}
