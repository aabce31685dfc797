"""Experts side by side: small networks of one shape that run as one batched product."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras, tf


@keras.utils.register_keras_serializable(package="tfshop")
class ExpertKernels(keras.layers.Layer):
    """Each expert's columns through a square kernel of its own, then an activation.

    Args:
        num_experts: How many lie side by side.
        activation: Name of a Keras activation; None for none.

    Call:
        experts: float32 (batch, num_experts * width). Returns the same shape.

    References:
        The matrices `C` of Wang et al., DCN V2, WWW 2021, equation 5.
    """

    def __init__(self, num_experts: int, activation: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_experts = int(num_experts)
        self.activation = keras.activations.get(activation)

    def build(self, input_shape: Any) -> None:
        """Make the kernels, float32 (num_experts, width, width)."""
        width = input_shape[-1] // self.num_experts
        # Keras takes the first axis for a window whose weights are summed, and would start each expert too small.
        start = keras.initializers.VarianceScaling(self.num_experts, mode="fan_avg", distribution="uniform")
        self.kernels = self.add_weight("kernels", (self.num_experts, width, width), initializer=start)
        super().build(input_shape)

    def call(self, experts: Any) -> Any:
        """Multiply each expert (batch, width) with its kernel."""
        width = self.kernels.shape[-1]
        first = tf.transpose(tf.reshape(experts, (-1, self.num_experts, width)), (1, 0, 2))
        mixed = tf.transpose(tf.matmul(first, self.kernels), (1, 0, 2))
        return self.activation(tf.reshape(mixed, (-1, self.num_experts * width)))

    def get_prunable_weights(self) -> list[Any]:
        """The kernels, for pruning; the name is TF-MOT's."""
        return [self.kernels]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "num_experts": self.num_experts, "activation": activation}


@keras.utils.register_keras_serializable(package="tfshop")
class GatedExperts(keras.layers.Layer):
    """Each expert's columns times its gate.

    Call:
        inputs: [experts float32 (batch, num_experts * width), gates float32 (batch, num_experts)].
        Returns float32 (batch, num_experts * width).

    Example:
        >>> GatedExperts()([tf.constant([[1.0, 2.0, 3.0, 4.0]]), tf.constant([[0.0, 2.0]])]).numpy().tolist()
        [[0.0, 0.0, 6.0, 8.0]]
    """

    def call(self, inputs: Any) -> Any:
        """Weigh experts by gates."""
        experts, gates = inputs
        num_experts, total = gates.shape[1], experts.shape[1]
        apart = tf.reshape(experts, (-1, num_experts, total // num_experts))
        return tf.reshape(apart * tf.reshape(gates, (-1, num_experts, 1)), (-1, total))


@keras.utils.register_keras_serializable(package="tfshop")
class GatedSum(keras.layers.Layer):
    """Experts' columns added up with the weights of a gate.

    Call:
        inputs: [experts float32 (batch, num_experts * width), gates float32 (batch, num_experts)].
        Returns float32 (batch, width).

    Example:
        >>> GatedSum()([tf.constant([[0.0, 4.0, 8.0, 0.0]]), tf.constant([[0.25, 0.75]])]).numpy().tolist()
        [[6.0, 1.0]]

    References:
        Jacobs et al., Adaptive Mixtures of Local Experts, Neural Computation 1991.
    """

    def call(self, inputs: Any) -> Any:
        """One matrix product a row, whatever the number of experts."""
        experts, gates = inputs
        num_experts, total = gates.shape[1], experts.shape[1]
        apart = tf.reshape(experts, (-1, num_experts, total // num_experts))
        return tf.squeeze(tf.matmul(tf.expand_dims(gates, axis=1), apart), axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(batch, width)."""
        experts, gates = input_shape
        return (gates[0], experts[1] // gates[1])
