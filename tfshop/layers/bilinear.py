"""Bilinear products of all pairs of fields."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfshop._keras import keras
from tfshop.layers.fields import FieldGather, dense_per_field
from tfshop.layers.pooling import FieldSlice

BILINEAR_KINDS = ("all", "each", "interaction")


def bilinear_pairs(fields: Any, kind: str, *, name: str) -> Any:
    r"""`(v_i W) \circ v_j` for all pairs of fields i < j.

    "all" has one matrix, a stock Dense layer; "each" one for every left field, "interaction" one for every pair,
    both a stock EinsumDense layer.

    Args:
        fields: float32 (batch, num_fields, dimension), at least two fields.
        kind: One of `BILINEAR_KINDS`.
        name: Prefix of the layers' names.

    Returns:
        float32 (batch, num_fields * (num_fields - 1) / 2, dimension), in the order (0, 1), (0, 2) … (1, 2) …

    References:
        Huang et al., FiBiNET, RecSys 2019.
    """
    num_fields, dimension = fields.shape[1:]
    left, right = (indices.tolist() for indices in np.triu_indices(num_fields, k=1))
    pick = FieldGather(left, name=f"{name}_left")
    if kind == "all":
        mapped = pick(dense_per_field(fields, dimension, use_bias=False, name=f"{name}_kernel"))
    elif kind == "each":
        # The last field is on the left of no pair: a matrix of its own would never learn.
        but_last = FieldSlice(0, num_fields - 1, name=f"{name}_but_last")(fields)
        mapped = pick(_matrix_per_field(but_last, name=f"{name}_kernel"))
    else:
        mapped = _matrix_per_field(pick(fields), name=f"{name}_kernel")
    return keras.layers.Multiply(name=name)([mapped, FieldGather(right, name=f"{name}_right")(fields)])


def _matrix_per_field(fields: Any, *, name: str) -> Any:
    shape = tuple(fields.shape[1:])
    return keras.layers.EinsumDense("bfd,fde->bfe", output_shape=shape, name=name)(fields)
