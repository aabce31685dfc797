"""Trained ranges where layers are to stay in float: told to the quantizer as a calibrator's are.

A range that is part of the graph makes integers of all that it touches, and of what shares its scale: a table behind
a concatenation, say. Nothing that is asked of the exporter later changes that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras, tf
from tfshop.compression.roles import output_tensors
from tfshop.export.settings import Batches
from tfshop.layers import OutputRange
from tfshop.models.rebuild import fresh, inlined, rebuild
from tfshop.runtime.editing import recorded_ranges, with_ranges
from tfshop.runtime.graph import read_graph
from tfshop.runtime.observer import observed

Ranges = Mapping[str, tuple[float, float]]
APART = "{}_activation"  # how QAT names an activation that it takes out of its layer
SAME = 1e-4  # of the largest number: what the converter's fusions move


def trained_ranges(model: Any) -> dict[str, tuple[float, float]]:
    """Layer -> the range that training gave its output; none but after QAT."""
    layers = model._flatten_layers(include_self=False)
    return {layer.name: (layer.minimum, layer.maximum) for layer in layers if isinstance(layer, OutputRange)}


def without_ranges(model: Any) -> Any:
    """The model with the same weights, and no rounding of outputs."""
    return rebuild(inlined(model), lambda layer: fresh(layer.layer if isinstance(layer, OutputRange) else layer))


def with_trained_ranges(content: bytes, model: Any, ranges: Ranges, calibration: Batches) -> bytes:
    """A calibrated float graph whose tensors have the trained ranges in the place of the measured ones.

    A layer's tensor is the one that holds the same numbers: names do not survive the converter's fusions. What is
    fused away has none, and needs none.

    Args:
        content: The calibrated float graph of `model`.
        model: Without ranges.
        ranges: From `trained_ranges` of the model that had them.
        calibration: Batches of inputs; the first is read.
    """
    graph, batch = read_graph(content), dict(next(calibration()))
    open_ends = [index for index in recorded_ranges(content) if graph.tensors[index].dtype == "float32"]
    computed = [index for index in open_ends if index in graph.producers]
    held = next(observed(content, graph, [batch], computed))
    found = {}
    for name, numbers in _given(model, list(ranges), batch):
        found.update({index: ranges[name] for index in computed if _is_same(held[index], numbers)})
    return with_ranges(content, found)


def with_activations(model: Any, names: Sequence[str]) -> tuple[str, ...]:
    """Names of layers, and of the activations that QAT has taken out of them."""
    known = {layer.name for layer in model.layers}
    apart = [APART.format(name) for name in names]
    return (*names, *(name for name in apart if name in known))


def _given(model: Any, names: Sequence[str], batch: Mapping[str, NDArray[Any]]) -> list[tuple[str, NDArray[Any]]]:
    """What layers give, one row a call."""
    calls = [(name, tensor) for name in names for tensor in output_tensors(model.get_layer(name), model)]
    values = keras.Model(model.inputs, [tensor for _, tensor in calls])(batch, training=False)
    return [(name, given.numpy()) for (name, _), given in zip(calls, tf.nest.flatten(values), strict=True)]


def _is_same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    if one.size != other.size:
        return False
    tolerance = SAME * max(float(np.abs(other).max(initial=0.0)), SAME)
    return bool(np.abs(one.reshape(-1) - other.reshape(-1)).max(initial=0.0) <= tolerance)
