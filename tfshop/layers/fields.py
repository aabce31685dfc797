"""Fields picked by position, weighted, or each taken through one Dense layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop._keras import keras, tf
from tfshop.layers.shapes import Reshaped


@keras.utils.register_keras_serializable(package="tfshop")
class FieldGather(keras.layers.Layer):
    """Fields by position, in any order, any of them several times.

    Args:
        positions: Which fields.

    Call:
        fields: (batch, num_fields, dimension). Returns (batch, len(positions), dimension).

    Example:
        >>> FieldGather([1, 1, 0])(tf.constant([[[1.0], [2.0]]])).numpy().ravel().tolist()
        [2.0, 2.0, 1.0]
    """

    def __init__(self, positions: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.positions = [int(position) for position in positions]

    def call(self, fields: Any) -> Any:
        """Pick fields."""
        return tf.gather(fields, self.positions, axis=1)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "positions": self.positions}


@keras.utils.register_keras_serializable(package="tfshop")
class FieldScale(keras.layers.Layer):
    """Every field times a number of its own.

    Call:
        inputs: [fields (batch, num_fields, dimension), weights (batch, num_fields)]. Returns fields' shape.

    Example:
        >>> FieldScale()([tf.ones((1, 2, 1)), tf.constant([[2.0, 3.0]])]).numpy().ravel().tolist()
        [2.0, 3.0]
    """

    def call(self, inputs: Any) -> Any:
        """Weight the fields."""
        fields, weights = inputs
        return fields * tf.expand_dims(weights, axis=-1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the fields."""
        return input_shape[0]


def dense_per_field(fields: Any, units: int, *, name: str, **settings: Any) -> Any:
    """One Dense layer that every field, or every position of a history, goes through.

    They are laid out as rows: on three axes a Dense layer computes the shape of its result in the graph, in ten
    operators.

    Args:
        fields: float32 (batch, num_fields, dimension).
        units: Width of the result.
        name: Of the Dense layer.
        **settings: Of the Dense layer: `use_bias`, `activation` …

    Returns:
        float32 (batch, num_fields, units).
    """
    rows = Reshaped((fields.shape[-1],), name=f"{name}_rows")(fields)
    mapped = keras.layers.Dense(units, name=name, **settings)(rows)
    return Reshaped((fields.shape[1], units), name=f"{name}_fields")(mapped)
