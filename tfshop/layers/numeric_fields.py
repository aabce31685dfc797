"""Numbers as fields, so that they interact with ids."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras, tf


@keras.utils.register_keras_serializable(package="tfshop")
class NumericFields(keras.layers.Layer):
    r"""A field for each number: its value times a trained vector, `e_m = x_m v_m`.

    Args:
        dimension: Width of a field.

    Call:
        values: float32 (batch, num_columns), imputed and scaled. Returns float32 (batch, num_columns, dimension).

    Example:
        >>> NumericFields(4)(tf.ones((2, 3))).shape.as_list()
        [2, 3, 4]

    References:
        Song et al., AutoInt, CIKM 2019.
    """

    def __init__(self, dimension: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dimension = dimension

    def build(self, input_shape: Any) -> None:
        """One vector a column."""
        # As an Embedding starts: the vectors are rows of a small table.
        self.vectors = self.add_weight("vectors", (input_shape[-1], self.dimension), initializer="uniform")
        super().build(input_shape)

    def call(self, values: Any) -> Any:
        """Weight the vectors."""
        return tf.expand_dims(values, axis=-1) * self.vectors

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "dimension": self.dimension}
