"""Compressed interaction network of xDeepFM: one degree of vector-wise products a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop._keras import keras, tf
from tfshop.layers.crosses import CROSS_PREFIX
from tfshop.layers.pooling import FieldSum
from tfshop.layers.shapes import Reshaped


@keras.utils.register_keras_serializable(package="tfshop")
class RowProducts(keras.layers.Layer):
    """All products of an element of one row with an element of another.

    Call:
        inputs: [(rows, left), (rows, right)]. Returns (rows, left * right), the right one's elements running fastest.

    Example:
        >>> RowProducts()([tf.constant([[1.0, 2.0]]), tf.constant([[3.0, 5.0]])]).numpy().tolist()
        [[3.0, 5.0, 6.0, 10.0]]
    """

    def call(self, inputs: Any) -> Any:
        """Multiply the rows."""
        left, right = inputs
        products = tf.expand_dims(left, axis=2) * tf.expand_dims(right, axis=1)
        return tf.reshape(products, [-1, left.shape[1] * right.shape[1]])

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(rows, left * right)."""
        left, right = input_shape
        return (left[0], left[1] * right[1])


def interaction_network(fields: Any, maps: Sequence[int]) -> Any:
    r"""Stack of `X^k_h = \sum_{ij} W^{kh}_{ij} (X^{k-1}_i \circ X^0_j)`, every map summed over its dimension.

    The kernels are those of stock Dense layers over rows that hold one dimension of all fields.

    Args:
        fields: float32 (batch, num_fields, dimension): `X^0`.
        maps: Feature maps `H_k` of each layer; the degree of the products is one more than their number.

    Returns:
        float32 (batch, sum(maps)).

    References:
        Lian et al., xDeepFM, KDD 2018, with the identity as activation, which the paper finds best.
    """
    dimension = fields.shape[2]
    first = Reshaped((fields.shape[1],), name="cin_rows")(keras.layers.Permute((2, 1), name="cin_transposed")(fields))
    rows, pooled = first, []
    for level, width in enumerate(maps):
        products = RowProducts(name=f"cin_products_{level}")([rows, first])
        rows = keras.layers.Dense(width, use_bias=False, name=f"{CROSS_PREFIX}_{level}_kernel")(products)
        pooled.append(FieldSum(name=f"cin_pool_{level}")(Reshaped((dimension, width), name=f"cin_maps_{level}")(rows)))
    return pooled[0] if len(pooled) == 1 else keras.layers.Concatenate(name="cin_pools")(pooled)
