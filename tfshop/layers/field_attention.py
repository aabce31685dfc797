"""Self-attention among the fields of an example."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras, tf


@keras.utils.register_keras_serializable(package="tfshop")
class FieldAttention(keras.layers.Layer):
    r"""Every field becomes a mean of all fields' values, weighted by `softmax_k(<q_m, k_k>)`, for each head.

    Holds no weights: queries, keys and values come from Dense layers, as rows (`dense_per_field`). A bias of the keys
    would add the same to all scores of a field and never learn.

    Args:
        num_fields: Rows of one example.
        num_heads: The rows' elements are split among so many heads.

    Call:
        inputs: [queries, keys, values], each float32 (batch * num_fields, num_heads * width). Returns that shape.

    References:
        Song et al., AutoInt, CIKM 2019; the scores are not divided by the root of the width.
    """

    def __init__(self, num_fields: int, num_heads: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_fields = num_fields
        self.num_heads = num_heads

    def call(self, inputs: Any) -> Any:
        """Weigh values by how queries meet keys."""
        queries, keys, values = (self._heads(rows) for rows in inputs)
        weights = tf.nn.softmax(tf.matmul(queries, keys, transpose_b=True))
        attended = tf.transpose(tf.matmul(weights, values), [0, 2, 1, 3])
        return tf.reshape(attended, [-1, inputs[2].shape[-1]])

    def _heads(self, rows: Any) -> Any:
        """(batch, num_heads, num_fields, width)."""
        split = tf.reshape(rows, [-1, self.num_fields, self.num_heads, rows.shape[-1] // self.num_heads])
        return tf.transpose(split, [0, 2, 1, 3])

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the values."""
        return input_shape[2]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "num_fields": self.num_fields, "num_heads": self.num_heads}


def attend(rows: Any, num_fields: int, *, width: int, num_heads: int, name: str) -> Any:
    r"""One interacting layer: `ReLU(attention(rows) + W_{res} rows)`.

    Args:
        rows: float32 (batch * num_fields, any width).
        num_fields: Rows of one example.
        width: Of one head.
        num_heads: Heads side by side.
        name: Prefix of the layers' names.

    Returns:
        float32 (batch * num_fields, num_heads * width).

    References:
        Song et al., AutoInt, CIKM 2019.
    """
    query, key, value, residual = (
        keras.layers.Dense(num_heads * width, use_bias=False, name=f"{name}_{part}")(rows)
        for part in ("query", "key", "value", "residual")
    )
    attended = FieldAttention(num_fields, num_heads, name=name)([query, key, value])
    added = keras.layers.Add(name=f"{name}_sum")([attended, residual])
    return keras.layers.Activation("relu", name=f"{name}_relu")(added)
