"""Scales and zero points of int8 files beside those that were trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tfshop.layers import OutputRange
from tfshop.runtime.graph import Graph, Tensor

Levels = dict[str, tuple[float, int]]


def int8_activations(graph: Graph) -> Iterator[Tensor]:
    """Int8 tensors that are computed at run time; not what is looked up for float operators, in its table's scale."""
    for index, tensor in enumerate(graph.tensors):
        if tensor.dtype == "int8" and not tensor.is_constant and tensor.scales is not None:
            maker, readers = graph.producers.get(index), graph.consumers.get(index, ())
            looked_up = maker is not None and maker.kind == "GATHER"
            if not (looked_up and all(reader.kind in {"DEQUANTIZE", "STRIDED_SLICE"} for reader in readers)):
                yield tensor


def trained_levels(model: Any) -> Levels:
    """Scale and zero point of each trained range, as the runtime reads them."""
    levels = {}
    for layer in model.layers:
        if isinstance(layer, OutputRange):
            scale = (layer.maximum - layer.minimum) / 255
            levels[layer.name] = (scale, round(-128 - layer.minimum / scale))
    return levels


def is_trained(tensor: Tensor, levels: Levels) -> bool:
    """Whether a tensor has the levels of a trained range."""
    assert tensor.scales is not None and tensor.zero_points is not None and tensor.scales.size == 1
    return any(
        np.isclose(float(tensor.scales[0]), scale, rtol=1e-4) and abs(int(tensor.zero_points[0]) - zero) <= 1
        for scale, zero in levels.values()
    )
