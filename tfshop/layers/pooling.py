"""Pooling of behaviour sequences whose padding is id 0."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras, tf

POOLINGS = ("mean", "sum", "sqrt")
NARROW = 32  # numbers an id, up to which LiteRT is no slower with a product of matrices for each row of the batch


def present_positions(ids: Any, dtype: Any = "float32") -> Any:
    """1 where an id is not padding, 0 where it is; shape of the ids."""
    return tf.minimum(tf.cast(ids, dtype), 1.0)  # LiteRT has no fast MINIMUM of integers, and no comparison at all


@keras.utils.register_keras_serializable(package="tfshop")
class MaskedMean(keras.layers.Layer):
    """Mean of the embeddings of a sequence over its real positions; zeros for an empty one.

    Args:
        pooling: "mean"; or "sum"; or "sqrt", the sum over the root of the number of positions.

    Call:
        inputs: [embeddings float32 (batch, length, dimension), ids int32 (batch, length); 0 is padding].
        Returns float32 (batch, 1, dimension): one more field.

    Example:
        >>> MaskedMean()([tf.ones((1, 3, 2)), tf.constant([[5, 0, 0]])]).numpy().tolist()
        [[[1.0, 1.0]]]
    """

    def __init__(self, pooling: str = "mean", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pooling = pooling

    def call(self, inputs: Any) -> Any:
        """Average embeddings where ids are not 0."""
        embeddings, ids = inputs
        weights = present_positions(ids, embeddings.dtype)
        if self.pooling != "sum":  # a position's share is divided, which are fewer numbers than its embedding
            count = tf.maximum(tf.reduce_sum(weights, axis=1, keepdims=True), 1.0)
            weights /= count if self.pooling == "mean" else tf.sqrt(count)
        if self.pooling == "sum" or embeddings.shape[-1] <= NARROW:  # int16 has no range of its own for a SUM's result
            return tf.matmul(tf.expand_dims(weights, axis=1), embeddings)
        return tf.reduce_sum(embeddings * tf.expand_dims(weights, axis=2), axis=1, keepdims=True)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "pooling": self.pooling}

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(batch, 1, dimension)."""
        return (input_shape[0][0], 1, input_shape[0][2])


@keras.utils.register_keras_serializable(package="tfshop")
class FieldSlice(keras.layers.Layer):
    """A run of neighbouring fields.

    Args:
        start: First field.
        length: How many.

    Call:
        fields: (batch, num_fields, dimension). Returns (batch, length, dimension).
    """

    def __init__(self, start: int, length: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start = start
        self.length = length

    def call(self, fields: Any, training: Any = None) -> Any:
        """Cut fields start … start + length out.

        The gradient of `fields[:, a:b]` takes a third of a narrow network's step; that of `tf.slice` is a pad, but in
        LiteRT it is the slower operator.
        """
        if training is True:
            return tf.slice(fields, [0, self.start, 0], [-1, self.length, -1])
        return fields[:, self.start : self.start + self.length, :]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "start": self.start, "length": self.length}


@keras.utils.register_keras_serializable(package="tfshop")
class FieldSum(keras.layers.Layer):
    """Sum over fields: the first-order term of a factorization machine.

    Call:
        fields: float32 (batch, num_fields, dimension). Returns float32 (batch, dimension).
    """

    def call(self, fields: Any) -> Any:
        """Add the fields up."""
        return tf.reduce_sum(fields, axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(batch, dimension)."""
        return (input_shape[0], input_shape[2])
