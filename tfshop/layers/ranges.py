"""Trained activation ranges, frozen into the graph for the exporter."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras, tf


@keras.utils.register_keras_serializable(package="tfshop")
class OutputRange(keras.layers.Wrapper):
    """A layer whose output is rounded to the levels of a trained range.

    The converter reads the range as the scale and zero point of the layer's output tensor.

    Args:
        layer: The wrapped layer; the wrapper takes its name.
        minimum: Lowest value of the range, at most 0.
        maximum: Highest value, at least 0.
        num_bits: Levels are 2 to this power.
    """

    def __init__(self, layer: Any, minimum: float, maximum: float, num_bits: int = 8, **kwargs: Any) -> None:
        kwargs.setdefault("name", layer.name)
        super().__init__(layer, **kwargs)
        self.minimum = float(minimum)
        self.maximum = float(maximum)
        self.num_bits = num_bits

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """The wrapped layer's output, rounded to the range's levels."""
        expects_training = self.layer._expects_training_arg
        output = self.layer(inputs, training=training) if expects_training else self.layer(inputs)
        return tf.quantization.fake_quant_with_min_max_args(output, self.minimum, self.maximum, self.num_bits)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> OutputRange:
        """Inverse of `get_config`; Keras' own Wrapper does not know registered names."""
        settings = dict(config)
        layer = keras.saving.deserialize_keras_object(settings.pop("layer"), custom_objects=custom_objects)
        return cls(layer, **settings)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        ranges = {"minimum": self.minimum, "maximum": self.maximum, "num_bits": self.num_bits}
        return {**super().get_config(), **ranges}
