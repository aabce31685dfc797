"""Fusion of two streams by a bilinear form, split into heads."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras
from tfshop.layers.matching import DotProduct


def bilinear_fusion(first: Any, second: Any, num_heads: int) -> Any:
    r"""`\sum_k x_k^T W_k y_k` over `num_heads` equal parts of two streams.

    Args:
        first: float32 (batch, width of the first stream).
        second: float32 (batch, width of the second stream).
        num_heads: Divides both widths; the more heads, the fewer weights. One head is a stock Dense layer, more of
            them a stock EinsumDense layer.

    Returns:
        float32 (batch, 1).

    References:
        Mao et al., FinalMLP, AAAI 2023.
    """
    width, other_width = first.shape[-1], second.shape[-1]
    if num_heads == 1:
        mapped = keras.layers.Dense(other_width, use_bias=False, name="fusion_kernel")(first)
        return DotProduct(name="fusion")([mapped, second])
    heads = keras.layers.Reshape((num_heads, width // num_heads), name="fusion_heads")(first)
    kernel = keras.layers.EinsumDense(
        "bkd,kde->bke", output_shape=(num_heads, other_width // num_heads), name="fusion_kernel"
    )
    mapped = keras.layers.Flatten(name="fusion_mapped")(kernel(heads))
    return DotProduct(name="fusion")([mapped, second])
