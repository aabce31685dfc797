"""Bridges of EDCN: after every layer, what two streams of equal width have found is shared between them."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras

BRIDGES = ("product", "sum", "concatenation", "attention")


def bridge(cross: Any, deep: Any, kind: str, *, name: str) -> Any:
    r"""Fuse two streams.

    "product" is `x \odot h`, "sum" `x + h`, "concatenation" `ReLU(W [x, h] + b)`, and "attention"
    `a_x \odot x + a_h \odot h` with `a_x = softmax(P_x ReLU(W_x x + b_x))` over the elements, `a_h` alike.

    Args:
        cross: float32 (batch, width): `x`.
        deep: float32 (batch, width): `h`.
        kind: One of `BRIDGES`.
        name: Prefix of the layers' names.

    Returns:
        float32 (batch, width).

    References:
        Chen et al., Enhancing Explicit and Implicit Feature Interactions via Information Sharing for Parallel Deep
        CTR Models, CIKM 2021.
    """
    if kind == "product":
        return keras.layers.Multiply(name=name)([cross, deep])
    if kind == "sum":
        return keras.layers.Add(name=name)([cross, deep])
    if kind == "concatenation":
        joined = keras.layers.Concatenate(name=f"{name}_joined")([cross, deep])
        return keras.layers.Dense(cross.shape[-1], activation="relu", name=name)(joined)
    weighed = [_weighed(cross, name=f"{name}_cross"), _weighed(deep, name=f"{name}_deep")]
    return keras.layers.Add(name=name)(weighed)


def _weighed(values: Any, *, name: str) -> Any:
    width = values.shape[-1]
    inner = keras.layers.Dense(width, activation="relu", name=f"{name}_inner")(values)
    scores = keras.layers.Dense(width, use_bias=False, name=f"{name}_scores")(inner)
    return keras.layers.Multiply(name=f"{name}_weighed")([keras.layers.Softmax(name=f"{name}_softmax")(scores), values])
