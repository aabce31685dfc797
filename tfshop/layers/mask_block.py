"""Mask blocks of MaskNet: a layer whose input is multiplied by a mask that the whole example decides."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras

# Below Keras' limit for its fused kernel, which becomes twice as many operators in the file.
EPSILON = 1e-5


def normalized(values: Any, *, name: str) -> Any:
    """Layer normalization over the last axis."""
    return keras.layers.LayerNormalization(epsilon=EPSILON, name=name)(values)


def mask_block(values: Any, aggregated: Any, width: int, *, name: str) -> Any:
    r"""`ReLU(LN(W (m \odot x)))` with the mask `m = W_2 a + b_2`, `a = ReLU(W_1 v + b_1)` of the whole example `v`.

    Args:
        values: float32 (batch, any width): `x`, the normalized embeddings or what another block gave.
        aggregated: float32 (batch, any width): `a`.
        width: Of the result.
        name: Prefix of the layers' names.

    Returns:
        float32 (batch, width).

    References:
        Wang et al., MaskNet, DLP-KDD 2021.
    """
    mask = keras.layers.Dense(values.shape[-1], name=f"{name}_mask")(aggregated)
    masked = keras.layers.Multiply(name=f"{name}_product")([mask, values])
    hidden = keras.layers.Dense(width, use_bias=False, name=f"{name}_hidden")(masked)
    return keras.layers.Activation("relu", name=f"{name}_relu")(normalized(hidden, name=f"{name}_norm"))
