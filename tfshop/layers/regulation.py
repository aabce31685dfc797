"""Regulation of EDCN: two streams share one input, each with gates of its own for the fields."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras, tf


@keras.utils.register_keras_serializable(package="tfshop")
class FieldRegulation(keras.layers.Layer):
    r"""Fields times the gates `F softmax(g / \tau)`, `F` the number of fields.

    The paper's gates add up to one. Times the number of fields they are one on average, which the weights that
    follow can undo, and a stack of them does not shrink its input.

    Args:
        num_fields: At least two; of one field the gate would be one whatever it learns.
        temperature: `\tau`: the lower, the sharper.

    Call:
        flat: float32 (batch, num_fields * dimension), the fields side by side. Returns that shape.

    Example:
        >>> FieldRegulation(2)(tf.constant([[1.0, 2.0, 3.0, 4.0]])).numpy().tolist()
        [[1.0, 2.0, 3.0, 4.0]]

    References:
        Chen et al., Enhancing Explicit and Implicit Feature Interactions via Information Sharing for Parallel Deep
        CTR Models, CIKM 2021.
    """

    def __init__(self, num_fields: int, temperature: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_fields = num_fields
        self.temperature = float(temperature)

    def build(self, input_shape: Any) -> None:
        """One logit a field."""
        self.logits = self.add_weight("logits", (self.num_fields,), initializer="zeros")
        super().build(input_shape)

    def call(self, flat: Any) -> Any:
        """Weight the fields."""
        gates = self.num_fields * tf.nn.softmax(self.logits / self.temperature)
        return flat * tf.repeat(gates, flat.shape[-1] // self.num_fields)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "num_fields": self.num_fields, "temperature": self.temperature}
