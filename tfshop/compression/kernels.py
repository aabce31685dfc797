"""Which weights of a layer are kernels, and how they meet what the layer reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from types import MappingProxyType
from typing import Any

import numpy as np

from tfshop._keras import keras
from tfshop.compression.roles import source_tensors, unwrapped

_MATRICES = ("kernel",)
_CELL = ("kernel", "recurrent_kernel")
_ATTENTION = tuple(f"_{part}_dense.kernel" for part in ("query", "key", "value", "output"))
# TF-MOT's own table has these too, but for EinsumDense; what a subclass does with its kernel nobody knows.
STOCK: Mapping[type, tuple[str, ...]] = MappingProxyType(
    {
        keras.layers.Dense: _MATRICES,
        keras.layers.EinsumDense: _MATRICES,
        keras.layers.Conv1D: _MATRICES,
        keras.layers.Conv2D: _MATRICES,
        keras.layers.Embedding: ("embeddings",),
        keras.layers.MultiHeadAttention: _ATTENTION,
        keras.layers.GRUCell: _CELL,
        keras.layers.LSTMCell: _CELL,
        keras.layers.SimpleRNNCell: _CELL,
    }
)


@dataclass(frozen=True, eq=False)
class Kernel:
    """One kernel of one layer.

    Attributes:
        layer: Name of the layer.
        variable: The weight itself.
        axes: Its axes that meet the last axis of what the layer reads; empty where it reads something else, such as
            rows that ids choose or a state.
    """

    layer: str
    variable: Any
    axes: tuple[int, ...] = ()

    @property
    def is_matrix(self) -> bool:
        """Whether it is known which of its axes are inputs: a kernel of two axes has them first."""
        return bool(self.axes) or len(self.variable.shape) == 2  # noqa: PLR2004  (rows and columns)

    def matrix(self, values: np.ndarray) -> np.ndarray:
        """Values of the kernel's shape as (inputs, all the rest)."""
        axes = self.axes or (0,)
        first = np.moveaxis(values, axes, range(len(axes)))
        return first.reshape(int(np.prod(first.shape[: len(axes)])), -1)

    def shaped(self, matrix: np.ndarray) -> np.ndarray:
        """Inverse of `matrix`."""
        axes = self.axes or (0,)
        shape = np.moveaxis(np.empty(self.variable.shape, np.bool_), axes, range(len(axes))).shape
        return np.moveaxis(np.reshape(matrix, shape), range(len(axes)), axes)


def kernel_variables(layer: Any) -> list[Any]:
    """The kernels of a layer: those it declares, else those of the stock layers it is or is made of.

    A layer declares them as TF-MOT asks it to, by a method `get_prunable_weights()`.

    Example:
        >>> dense = keras.layers.Dense(3)
        >>> dense.build((None, 2))
        >>> [kernel.shape.as_list() for kernel in kernel_variables(dense)]
        [[2, 3]]
    """
    bare = unwrapped(layer)
    if hasattr(bare, "get_prunable_weights"):
        return list(bare.get_prunable_weights())
    if type(bare) in STOCK:
        return [attrgetter(name)(bare) for name in STOCK[type(bare)]]
    if isinstance(bare, keras.layers.Embedding):
        return [bare.embeddings]
    parts = bare._flatten_layers(recursive=True, include_self=False)
    return [attrgetter(name)(part) for part in parts if type(part) in STOCK for name in STOCK[type(part)]]


def kernels_of(model: Any, names: Sequence[str]) -> dict[str, Kernel]:
    """The kernels of the named layers.

    Args:
        model: Functional model without submodels.
        names: Layers; those without a kernel give none.

    Returns:
        By the layer's name where it has one kernel, by `layer:weight` where it has several.
    """
    found: dict[str, Kernel] = {}
    for name in names:
        layer = model.get_layer(name)
        variables = kernel_variables(layer)
        axes = _axes(layer, variables, model)
        if len(variables) == 1:
            found[name] = Kernel(name, variables[0], axes)
            continue
        for variable in variables:
            key = f"{name}:{variable.name.split(':')[0].removeprefix(f'{name}/')}"
            key = key if key not in found else f"{key}_{len(found)}"  # layers of others may name two weights alike
            found[key] = Kernel(name, variable, axes)
    return found


def _axes(layer: Any, variables: Sequence[Any], model: Any) -> tuple[int, ...]:
    """Axes of a layer's only kernel that meet the last axis of its input."""
    bare = unwrapped(layer)
    if type(bare) is keras.layers.Dense:
        return (0,)
    if type(bare) is keras.layers.EinsumDense:
        inputs, kernel = bare.equation.split("->")[0].replace(" ", "").split(",")
        return (kernel.index(inputs[-1]),) if inputs[-1] in kernel else ()
    if len(variables) != 1 or not hasattr(bare, "get_prunable_weights"):
        return ()
    widths = {tensor.shape[-1] for tensor in source_tensors(layer, model)}
    shape = tuple(variables[0].shape)
    leading = (count for count in range(1, len(shape)) if {int(np.prod(shape[:count]))} == widths)
    return tuple(range(next(leading, 0)))
