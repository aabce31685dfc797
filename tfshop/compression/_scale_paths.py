"""Where a scale put on the columns of one tensor comes out again: followed through the graph until kernels take it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras, tf
from tfshop.compression.roles import calls_of
from tfshop.models.rebuild import calls_in_order

UNSCALED = -1
Columns = NDArray[np.int64]  # of a tensor: the column of the source whose scale each carries, or UNSCALED
_PASSED = (keras.layers.Dropout, keras.layers.LeakyReLU, keras.layers.PReLU)
_JOINED = (keras.layers.Add, keras.layers.Subtract, keras.layers.Average, keras.layers.Maximum, keras.layers.Minimum)
HOMOGENEOUS = (keras.activations.linear, keras.activations.relu)


@dataclass(frozen=True, eq=False)
class Path:
    """A tensor whose columns may be divided by anything above zero, because kernels behind it can be multiplied.

    Attributes:
        source: The layer that gives the tensor.
        width: Its columns.
        absorbers: Dense layer -> for each row of its kernel, the column of the source, or UNSCALED.
    """

    source: Any
    width: int
    absorbers: dict[str, Columns]


def scale_path(model: Any, source: Any) -> Path | None:
    """Follow the output of a layer; None where something on the way would change with the scale.

    Through activations that are linear for positive factors, Dropout, Concatenate along the columns, sums whose
    terms carry the same scale, and products of which one factor carries it: (x/s) * y = (x * y)/s, which is how the
    scale of the inputs runs through a stack of crosses.
    """
    calls = calls_of(source, model)
    tensors = [tensor for node in calls for tensor in tf.nest.flatten(node.outputs)]
    if len(tensors) != 1 or not tensors[0].dtype.is_floating or not tensors[0].shape[-1]:
        return None
    width = int(tensors[0].shape[-1])
    carried: dict[int, Columns] = {id(tensors[0]): np.arange(width)}
    absorbers: dict[str, Columns] = {}
    for node in calls_in_order(model):
        given = [carried.get(id(tensor)) for tensor in node.keras_inputs]
        if all(columns is None for columns in given):
            continue
        if type(node.layer) is keras.layers.Dense and len(calls_of(node.layer, model)) == 1:
            absorbers[node.layer.name] = given[0]  # type: ignore[assignment]
            continue
        columns = _behind(node, given)
        if columns is None:
            return None
        carried[id(tf.nest.flatten(node.outputs)[0])] = columns
    if not absorbers or any(id(tensor) in carried for tensor in model.outputs):
        return None
    return Path(source, width, absorbers)


def _behind(node: Any, given: Sequence[Columns | None]) -> Columns | None:
    """What the output of a call carries; None where it cannot be said or would not be a scale."""
    layer, tensors = node.layer, node.keras_inputs
    if isinstance(layer, _PASSED) or _is_homogeneous(layer):
        return given[0]
    if type(layer) is keras.layers.Concatenate and layer.axis in (-1, len(tensors[0].shape) - 1):
        parts = [np.full(int(t.shape[-1]), UNSCALED) if g is None else g for g, t in zip(given, tensors, strict=True)]
        return np.concatenate(parts)
    if len({tuple(tensor.shape) for tensor in tensors}) != 1:
        return None  # columns that are spread over others
    carrying = [columns for columns in given if columns is not None]
    if type(layer) in _JOINED and len(carrying) == len(given):
        return carrying[0] if all(np.array_equal(columns, carrying[0]) for columns in carrying) else None
    if type(layer) is keras.layers.Multiply and len(carrying) == 1:
        return carrying[0]
    return None


def _is_homogeneous(layer: Any) -> bool:
    if type(layer) is keras.layers.Activation:
        return layer.activation in HOMOGENEOUS
    return type(layer) is keras.layers.ReLU and layer.max_value is None and not layer.threshold
