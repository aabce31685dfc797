"""Gates around one: a feature is let through, weakened or doubled."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras, tf


@keras.utils.register_keras_serializable(package="tfshop")
class Gate(keras.layers.Layer):
    r"""Features times `2 \sigma(g)`, with `g` told from a context.

    Call:
        inputs: [features (batch, width), logits of the gate (batch, width)]. Returns (batch, width).

    Example:
        >>> Gate()([tf.constant([[3.0]]), tf.constant([[0.0]])]).numpy().tolist()
        [[3.0]]

    References:
        Mao et al., FinalMLP, AAAI 2023.
    """

    def call(self, inputs: Any) -> Any:
        """Weight the features."""
        features, logits = inputs
        return features * (2.0 * tf.sigmoid(logits))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the features."""
        return input_shape[0]


@keras.utils.register_keras_serializable(package="tfshop")
class ConstantGate(keras.layers.Layer):
    r"""Features times `2 \sigma(g)`, with `g` the same for every example: what a gate without a context learns.

    Starts at one for every feature.

    Call:
        features: (batch, width). Returns (batch, width).

    Example:
        >>> ConstantGate()(tf.constant([[3.0, 4.0]])).numpy().tolist()
        [[3.0, 4.0]]
    """

    def build(self, input_shape: Any) -> None:
        """One logit a feature."""
        self.logits = self.add_weight("logits", (input_shape[-1],), initializer="zeros")
        super().build(input_shape)

    def call(self, features: Any) -> Any:
        """Weight the features."""
        return features * (2.0 * tf.sigmoid(self.logits))
