"""Recurrence over behaviour sequences of a fixed greatest length, unrolled: LiteRT has no GRU."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras, tf
from tfshop.layers.pooling import present_positions


class _Recurrence(keras.layers.Layer):
    """What both recurrences share: the kernels, and one step.

    The projections of the inputs are a Dense layer outside, for all positions at once and where every pass can treat
    its kernel.
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape: Any) -> None:
        """Create the kernels that read the state."""
        self.gates_kernel = self.add_weight(
            name="gates_kernel", shape=(self.units, 2 * self.units), initializer="orthogonal"
        )
        self.state_kernel = self.add_weight(
            name="state_kernel", shape=(self.units, self.units), initializer="orthogonal"
        )
        super().build(input_shape)

    def _step(self, state: Any, inputs: tuple[Any, Any, Any], weight: Any = None) -> Any:
        """The next state (batch, units); no state means zeros.

        The two gates have a product each: split after their sigmoid they could not be told to share a scale in int8.
        """
        update, reset, candidate = inputs
        if state is not None:
            update = update + tf.matmul(state, self.gates_kernel[:, : self.units])
            reset = tf.sigmoid(reset + tf.matmul(state, self.gates_kernel[:, self.units :]))
            candidate = candidate + reset * tf.matmul(state, self.state_kernel)
        update = tf.sigmoid(update) if weight is None else tf.sigmoid(update) * weight
        fresh = tf.tanh(candidate)
        return update * fresh if state is None else state + update * (fresh - state)

    def _steps(self, projected: Any) -> list[tuple[Any, Any, Any]]:
        """Update gate, reset gate and candidate (batch, units) of each position."""
        thirds = (projected[:, :, part * self.units : (part + 1) * self.units] for part in range(3))
        return list(zip(*(tf.unstack(third, axis=1) for third in thirds), strict=True))

    def get_prunable_weights(self) -> list[Any]:
        """The kernels that read the state, for pruning; the name is TF-MOT's."""
        return [self.gates_kernel, self.state_kernel]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "units": self.units}


@keras.utils.register_keras_serializable(package="tfshop")
class InterestGRU(_Recurrence):
    r"""Gated recurrent unit; the state after each position.

    .. math::
        u_t, r_t = \sigma(x_t W + h_{t-1} U), \quad \tilde h_t = \tanh(x_t W_h + r_t \circ h_{t-1} U_h), \quad
        h_t = (1 - u_t) \circ h_{t-1} + u_t \circ \tilde h_t

    Args:
        units: Width of the state.

    Call:
        projected: float32 (batch, length, 3 units): update gate, reset gate and candidate, bias included.
        Returns float32 (batch, length, units).

    References:
        Cho et al., Learning Phrase Representations using RNN Encoder-Decoder, EMNLP 2014.
    """

    def call(self, projected: Any) -> Any:
        """Run over all positions."""
        states: list[Any] = []
        for inputs in self._steps(projected):
            states.append(self._step(states[-1] if states else None, inputs))
        return tf.stack(states, axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(batch, length, units)."""
        return (*input_shape[:2], self.units)


@keras.utils.register_keras_serializable(package="tfshop")
class InterestEvolution(_Recurrence):
    r"""GRU whose update gate is scaled by attention (AUGRU); the last state.

    .. math:: h_t = (1 - a_t u_t) \circ h_{t-1} + a_t u_t \circ \tilde h_t

    A position with weight 0, such as padding, leaves the state as it is.

    Args:
        units: Width of the state.

    Call:
        inputs: [projected float32 (batch, length, 3 units), weights float32 (batch, 1, length)].
        Returns float32 (batch, 1, units): one more field.

    References:
        Zhou et al., Deep Interest Evolution Network for Click-Through Rate Prediction, AAAI 2019.
    """

    def call(self, inputs: Any) -> Any:
        """Run over all positions."""
        projected, weights = inputs
        column = tf.unstack(tf.reshape(weights, [-1, projected.shape[1], 1]), axis=1)
        state = None
        for step, weight in zip(self._steps(projected), column, strict=True):
            state = self._step(state, step, weight)
        return tf.reshape(state, [-1, 1, self.units])

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(batch, 1, units)."""
        return (input_shape[0][0], 1, self.units)


@keras.utils.register_keras_serializable(package="tfshop")
class NextBehaviourLoss(keras.layers.Layer):
    r"""States pass through; in training, each is asked to tell the next behaviour from somebody else's.

    .. math:: -weight \cdot mean(\log \sigma(h_t \cdot e_{t+1}) + \log(1 - \sigma(h_t \cdot \hat e_{t+1})))

    over the positions that have a next behaviour; the negative is what another row of the batch holds there.

    Args:
        weight: Of this loss beside the network's own.

    Call:
        inputs: [states, embeddings float32 (batch, length, width), ids int32 (batch, length); 0 is padding].
        Returns the states.

    References:
        Zhou et al., Deep Interest Evolution Network for Click-Through Rate Prediction, AAAI 2019.
    """

    def __init__(self, weight: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.weight = weight

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Add the loss where this is a training step."""
        states, embeddings, ids = inputs
        if training is True:
            self.add_loss(self.weight * self.next_behaviour_loss(states, embeddings, ids))
        return states

    @staticmethod
    def next_behaviour_loss(states: Any, embeddings: Any, ids: Any) -> Any:
        """The loss of a batch, a number."""
        following, known = embeddings[:, 1:], present_positions(ids)[:, 1:]
        others, known_others = tf.roll(following, 1, axis=0), tf.roll(known, 1, axis=0)
        right = tf.reduce_sum(states[:, :-1] * following, axis=-1)
        wrong = tf.reduce_sum(states[:, :-1] * others, axis=-1)
        seen, compared = tf.reduce_sum(known), tf.reduce_sum(known * known_others)
        misses = tf.reduce_sum(tf.nn.softplus(-right) * known) / tf.maximum(seen, 1.0)
        return misses + tf.reduce_sum(tf.nn.softplus(wrong) * known * known_others) / tf.maximum(compared, 1.0)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the states."""
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "weight": self.weight}
