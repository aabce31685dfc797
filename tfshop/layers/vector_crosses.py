"""Vector crosses of the first Deep & Cross Network."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras
from tfshop.layers.bias import Bias
from tfshop.layers.crosses import CROSS_PREFIX


def vector_cross_stack(x0: Any, num_crosses: int) -> Any:
    r"""Stack of `x_{l+1} = x_0 (x_l \cdot w_l) + b_l + x_l`.

    A cross has two vectors where a matrix cross has a matrix: width times fewer parameters and multiplications.

    Args:
        x0: float32 (batch, width).
        num_crosses: How many; the degree of the polynomial is one more.

    Returns:
        float32 (batch, width).

    References:
        Wang et al., Deep & Cross Network for Ad Click Predictions, ADKDD 2017.
    """
    crossed = x0
    for level in range(num_crosses):
        crossed = vector_cross(x0, crossed, name=f"{CROSS_PREFIX}_{level}")
    return crossed


def vector_cross(x0: Any, crossed: Any, *, name: str) -> Any:
    r"""`x_0 (x \cdot w) + b + x`: one degree more for a vector of weights and one of biases.

    Args:
        x0: float32 (batch, width), what the stack began with.
        crossed: float32 (batch, width), of the cross before.
        name: What the names of its layers begin with.

    Returns:
        float32 (batch, width).
    """
    weight = keras.layers.Dense(1, use_bias=False, name=f"{name}_kernel")(crossed)
    product = keras.layers.Multiply(name=f"{name}_product")([x0, weight])
    shifted = Bias(name=f"{name}_bias")(product)
    return keras.layers.Add(name=f"{name}_residual")([shifted, crossed])
