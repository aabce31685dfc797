"""Attention over behaviour sequences whose padding is id 0."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras, tf
from tfshop.layers.pooling import present_positions

NEVER = -1e9  # a score that softmax turns into 0
LEAST_WEIGHT = 1e-9  # of a padded position in batch statistics: a batch of empty histories divides by no zero


@keras.utils.register_keras_serializable(package="tfshop")
class Dice(keras.layers.Layer):
    r"""An activation that turns at the mean of its inputs, not at zero.

    .. math:: f(s) = p(s) s + (1 - p(s)) \alpha s, \qquad p(s) = \sigma((s - E[s]) / \sqrt{Var[s] + \epsilon})

    Mean and variance are those of the batch in training, over real positions alone, and their moving averages
    afterwards. `alpha` is learned, one a unit.

    Call:
        inputs: [s float32 (batch, length, units), ids int32 (batch, length); 0 is padding].
        Returns the shape of s.

    References:
        Zhou et al., Deep Interest Network for Click-Through Rate Prediction, KDD 2018.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.normalization = keras.layers.BatchNormalization(center=False, scale=False, name="normalization")

    def build(self, input_shape: Any) -> None:
        """Create `alpha` and the moving averages."""
        shape = tf.TensorShape(input_shape[0])
        self.alpha = self.add_weight(name="alpha", shape=(shape[-1],), initializer="zeros")
        self.normalization.build(shape)
        super().build(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Mix s and alpha s by where s lies among its kind."""
        values, ids = inputs
        weights = tf.maximum(present_positions(ids, values.dtype), LEAST_WEIGHT)
        share = tf.sigmoid(self.normalization(values, training=training, mask=weights))
        return values * (self.alpha + (1.0 - self.alpha) * share)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of s."""
        return input_shape[0]


@keras.utils.register_keras_serializable(package="tfshop")
class PositionWeights(keras.layers.Layer):
    """Scores of positions as weights: 0 for padding, and where asked for with the sum 1.

    Args:
        softmax: Whether weights are the softmax of the scores over the real positions; else the scores themselves.

    Call:
        inputs: [scores float32 (batch, length, 1), ids int32 (batch, length); 0 is padding].
        Returns float32 (batch, 1, length).
    """

    def __init__(self, softmax: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.softmax = softmax

    def call(self, inputs: Any) -> Any:
        """Mask, and normalize where asked for."""
        scores, ids = inputs
        present = tf.expand_dims(present_positions(ids, scores.dtype), axis=1)
        row = tf.reshape(scores, [-1, 1, scores.shape[1]])
        if not self.softmax:
            return row * present
        return tf.nn.softmax(row + (1.0 - present) * NEVER) * present

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "softmax": self.softmax}


@keras.utils.register_keras_serializable(package="tfshop")
class WeightedSum(keras.layers.Layer):
    """Sum of a sequence's embeddings under given weights.

    Call:
        inputs: [weights float32 (batch, 1, length), embeddings float32 (batch, length, dimension)].
        Returns float32 (batch, 1, dimension).
    """

    def call(self, inputs: Any) -> Any:
        """Weigh and add up."""
        weights, embeddings = inputs
        return tf.matmul(weights, embeddings)


@keras.utils.register_keras_serializable(package="tfshop")
class PositionScores(keras.layers.Layer):
    """Inner product of one vector with each position.

    Call:
        inputs: [positions float32 (batch, length, width), vector float32 (batch, 1, width)].
        Returns float32 (batch, length, 1).
    """

    def call(self, inputs: Any) -> Any:
        """Multiply each position with the vector."""
        positions, vector = inputs
        return tf.matmul(positions, vector, transpose_b=True)


@keras.utils.register_keras_serializable(package="tfshop")
class RecencyCodes(keras.layers.Layer):
    """How long ago each token of [history, target] was, as a one-hot code: 0 the target, 1 the latest behaviour.

    Real behaviours are counted from the end of the history, so that padding shifts none. Padding gets zeros. A Dense
    layer without bias makes position embeddings of the codes.

    Call:
        ids: int32 (batch, length); 0 is padding. Returns float32 (batch, length + 1, length + 1).

    Example:
        >>> RecencyCodes()(tf.constant([[7, 8, 0]])).numpy().argmax(-1)[0, [0, 1, 3]].tolist()
        [2, 1, 0]
    """

    def call(self, ids: Any) -> Any:
        """Code the distance of each position from the target."""
        length = ids.shape[1]
        present = present_positions(ids)
        since = tf.cumsum(present, axis=1, reverse=True)
        ago = since * present - (1.0 - present)
        tokens = tf.expand_dims(_with_target(ago, 0.0), axis=-1)
        steps = tf.constant([[[float(i) for i in range(length + 1)]]])
        return tf.nn.relu(1.0 - tf.abs(tokens - steps))  # exact for whole numbers, in floats that LiteRT multiplies

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(batch, length + 1, length + 1)."""
        return (input_shape[0], input_shape[1] + 1, input_shape[1] + 1)


@keras.utils.register_keras_serializable(package="tfshop")
class HistoryAttention(keras.layers.Layer):
    r"""Scaled dot-product attention among the tokens of [history, target]; nobody looks at padding.

    .. math:: softmax(Q K^T / \sqrt{d / heads}) V \text{ for each head}

    The projections to Q, K, V and from the heads are Dense layers outside, where every pass can treat them.

    Args:
        num_heads: Heads; the width is divided among them.

    Call:
        inputs: [query, key, value float32 (batch, length + 1, width), ids int32 (batch, length); 0 is padding].
        Returns float32 (batch, length + 1, width).

    References:
        Vaswani et al., Attention Is All You Need, NeurIPS 2017.
    """

    def __init__(self, num_heads: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def call(self, inputs: Any) -> Any:
        """Attend, and put the heads side by side."""
        query, key, value, ids = inputs
        length, width = query.shape[1:]
        query, key, value = (self._heads(tokens) for tokens in (query, key, value))
        scores = tf.matmul(query * (width // self.num_heads) ** -0.5, key, transpose_b=True)
        present = present_positions(ids, scores.dtype)
        hidden = (1.0 - _with_target(present, 1.0)) * NEVER
        weights = tf.nn.softmax(scores + tf.reshape(hidden, [-1, 1, 1, length]))
        attended = tf.transpose(tf.matmul(weights, value), [0, 2, 1, 3])
        return tf.reshape(attended, [-1, length, width])

    def _heads(self, tokens: Any) -> Any:
        """(batch, heads, length, width / heads)."""
        length, width = tokens.shape[1:]
        apart = tf.reshape(tokens, [-1, length, self.num_heads, width // self.num_heads])
        return tf.transpose(apart, [0, 2, 1, 3])

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the query."""
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "num_heads": self.num_heads}


def _with_target(row: Any, value: float) -> Any:
    """One more column for the target; a concatenation would end what the exporter keeps in float."""
    return tf.pad(row, [[0, 0], [0, 1]], constant_values=value)
