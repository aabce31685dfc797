"""Mask blocks of MaskNet: a layer whose input is multiplied by a mask that the whole example decides."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras

# Below Keras' limit for its fused kernel, which becomes twice as many operators in the file.
EPSILON = 1e-5


def normalized(values: Any, *, name: str) -> Any:
    """Layer normalization over the last axis."""
    return keras.layers.LayerNormalization(epsilon=EPSILON, name=name)(values)


def mask_block(values: Any, instance: Any, width: int, *, reduction: float, name: str) -> Any:
    r"""`ReLU(LN(W (m \odot x)))` with the mask `m = W_2 ReLU(W_1 v + b_1) + b_2`.

    Args:
        values: float32 (batch, any width): `x`, the normalized embeddings or what another block gave.
        instance: float32 (batch, any width): `v`, the embeddings of the whole example.
        width: Of the result.
        reduction: The mask's inner layer has so many times the width of `values`.
        name: Prefix of the layers' names.

    Returns:
        float32 (batch, width).

    References:
        Wang et al., MaskNet, DLP-KDD 2021.
    """
    masked_width = values.shape[-1]
    inner_width = max(1, round(reduction * masked_width))
    inner = keras.layers.Dense(inner_width, activation="relu", name=f"{name}_aggregation")(instance)
    mask = keras.layers.Dense(masked_width, name=f"{name}_mask")(inner)
    masked = keras.layers.Multiply(name=f"{name}_product")([mask, values])
    hidden = keras.layers.Dense(width, use_bias=False, name=f"{name}_hidden")(masked)
    return keras.layers.Activation("relu", name=f"{name}_relu")(normalized(hidden, name=f"{name}_norm"))
