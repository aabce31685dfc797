"""Field-aware products: each id has a vector of its own for each field it meets."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras, tf
from tfshop.layers.pairs import pair_positions


@keras.utils.register_keras_serializable(package="tfshop")
class FieldAwareProducts(keras.layers.Layer):
    r"""Sum over all pairs of fields `i < j` of `v_{i \to j} \cdot v_{j \to i}`.

    A field's row holds its vectors for the other fields, in their order and without one for itself, so that one
    lookup in one table serves all pairs. Two gathers put the partners side by side.

    Args:
        dimension: Width of one vector.

    Call:
        fields: float32 (batch, num_fields, (num_fields - 1) * dimension). Returns float32 (batch, 1).

    Example:
        >>> vectors = tf.constant([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])  # 1 * 3 + 2 * 5 + 4 * 6
        >>> FieldAwareProducts(1)(vectors).numpy().tolist()
        [[37.0]]

    References:
        Juan et al., Field-aware Factorization Machines for CTR Prediction, RecSys 2016.
    """

    def __init__(self, dimension: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dimension = int(dimension)

    def call(self, fields: Any) -> Any:
        """Multiply each field's vector for the other with the other's for it."""
        num_fields = fields.shape[1]
        others = num_fields - 1
        vectors = tf.reshape(fields, (-1, num_fields * others, self.dimension))
        first, second = pair_positions(num_fields)
        left = tf.gather(vectors, first * others + second - 1, axis=1)  # its own place is left out, so j moves up
        right = tf.gather(vectors, second * others + first, axis=1)
        return tf.reshape(tf.reduce_sum(left * right, axis=[1, 2]), (-1, 1))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(batch, 1)."""
        return (input_shape[0], 1)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "dimension": self.dimension}
