"""Batch statistics that stop moving part of the way through a training."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras, tf


class StatisticsUntil(keras.layers.Wrapper):
    """A BatchNormalization that normalizes by the batch at first and by its moving statistics from a step on.

    In the file there are moving statistics alone, and kernels are folded with them. What is trained after that step
    is trained on the very numbers that are shipped.

    Args:
        layer: The BatchNormalization; the wrapper takes its name.
        calls: How many of its calls in training see the batch: steps times calls a step.
    """

    def __init__(self, layer: Any, calls: int, **kwargs: Any) -> None:
        kwargs.setdefault("name", layer.name)
        super().__init__(layer, **kwargs)
        self.calls = int(calls)

    def build(self, input_shape: Any) -> None:
        """Count the calls."""
        super().build(input_shape)
        self.seen = self.add_weight("seen", shape=(), dtype=tf.int64, initializer="zeros", trainable=False)

    def call(self, inputs: Any, training: Any = None) -> Any:
        """Normalize."""
        if not training:
            return self.layer(inputs, training=False)
        self.seen.assign_add(1)
        moving = self.seen <= self.calls
        return tf.cond(moving, lambda: self.layer(inputs, training=True), lambda: self.layer(inputs, training=False))

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """That of the inputs: what either branch gives has lost it."""
        return self.layer.compute_mask(inputs, mask)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the inputs."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "calls": self.calls}
