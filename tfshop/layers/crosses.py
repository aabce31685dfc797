"""Matrix crosses of DCN V2, composed of stock layers so that every pass can treat their kernels."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras

CROSS_PREFIX = "cross"


def cross_stack(x0: Any, num_crosses: int) -> Any:
    r"""Stack of `x_{l+1} = x_0 \odot (W_l x_l + b_l) + x_l`.

    Args:
        x0: float32 (batch, width).
        num_crosses: How many; the degree of the polynomial is one more.

    Returns:
        float32 (batch, width).

    References:
        Wang et al., DCN V2, WWW 2021.
    """
    crossed = x0
    for level in range(num_crosses):
        name = f"{CROSS_PREFIX}_{level}"
        projected = keras.layers.Dense(x0.shape[-1], name=f"{name}_kernel")(crossed)
        product = keras.layers.Multiply(name=f"{name}_product")([x0, projected])
        crossed = keras.layers.Add(name=f"{name}_residual")([product, crossed])
    return crossed
