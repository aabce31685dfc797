"""What two towers and content vectors need: unit length, columns of a packed input, a product a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop._keras import keras, tf

SHORTEST = 1e-6


@keras.utils.register_keras_serializable(package="tfshop")
class UnitLength(keras.layers.Layer):
    """Each vector over its Euclidean length; zeros stay zeros.

    Call:
        vectors: float32 (batch, width). Returns the same shape.

    Example:
        >>> UnitLength()(tf.constant([[0.0, 4.0], [0.0, 0.0]])).numpy().tolist()
        [[0.0, 1.0], [0.0, 0.0]]
    """

    def call(self, vectors: Any) -> Any:
        """Divide by the length."""
        squares = tf.reduce_sum(vectors * vectors, axis=-1, keepdims=True)
        return vectors * tf.math.rsqrt(tf.maximum(squares, SHORTEST**2))


@keras.utils.register_keras_serializable(package="tfshop")
class ColumnSelect(keras.layers.Layer):
    """Some columns of a packed input, in the order asked for.

    Args:
        columns: Their positions.

    Call:
        values: (batch, num_columns). Returns (batch, len(columns)) of the same type.

    Example:
        >>> ColumnSelect([2, 0])(tf.constant([[5, 6, 7]])).numpy().tolist()
        [[7, 5]]
    """

    def __init__(self, columns: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.columns = [int(column) for column in columns]

    def call(self, values: Any) -> Any:
        """Cut the columns out."""
        return tf.gather(values, self.columns, axis=1)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "columns": self.columns}


@keras.utils.register_keras_serializable(package="tfshop")
class DotProduct(keras.layers.Layer):
    """Inner product of two vectors a row.

    Call:
        inputs: Two tensors float32 (batch, width). Returns float32 (batch, 1).

    Example:
        >>> DotProduct()([tf.constant([[1.0, 2.0]]), tf.constant([[3.0, 4.0]])]).numpy().tolist()
        [[11.0]]
    """

    def call(self, inputs: Any) -> Any:
        """Multiply and add up."""
        one, other = inputs
        return tf.reduce_sum(one * other, axis=1, keepdims=True)
