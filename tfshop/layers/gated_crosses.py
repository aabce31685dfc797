"""Gated crosses of GDCN, composed of stock layers so that every pass can treat their kernels."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras
from tfshop.layers.crosses import CROSS_PREFIX


def gated_cross_stack(x0: Any, num_crosses: int) -> Any:
    r"""Stack of `x_{l+1} = x_0 \odot (W_l x_l + b_l) \odot \sigma(V_l x_l) + x_l`.

    The gate keeps noise out of the higher degrees.

    Args:
        x0: float32 (batch, width).
        num_crosses: How many; the degree of the polynomial is one more.

    Returns:
        float32 (batch, width).

    References:
        Wang et al., Towards Deeper, Lighter and Interpretable Cross Network for CTR Prediction, CIKM 2023.
    """
    crossed, width = x0, x0.shape[-1]
    for level in range(num_crosses):
        name = f"{CROSS_PREFIX}_{level}"
        projected = keras.layers.Dense(width, name=f"{name}_kernel")(crossed)
        gate = keras.layers.Dense(width, activation="sigmoid", use_bias=False, name=f"{name}_gate")(crossed)
        product = keras.layers.Multiply(name=f"{name}_product")([x0, projected, gate])
        crossed = keras.layers.Add(name=f"{name}_residual")([product, crossed])
    return crossed
