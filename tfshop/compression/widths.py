"""Which tensors of a network are equally wide because they meet, and what their width follows from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras, tf
from tfshop.layers import Bias, Dice
from tfshop.models.rebuild import calls_in_order

Columns = NDArray[np.int64]
# Layers with weights whose output is as wide as what they read first.
FOLLOWERS = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.PReLU,
    keras.layers.MultiHeadAttention,
    Bias,
    Dice,
)
FEWEST_JOINED = 2


@dataclass(eq=False)
class WidthGroup:
    """Tensors that are equally wide.

    Attributes:
        width: How wide.
        tensors: In the order of the graph.
        makers: Dense and Embedding layers that give them, each once.
        parts: Where the width is that of other tensors side by side: those tensors, in order; else empty.
        is_fixed: Whether something gives them whose width nobody can change: an input, a layer of another kind.
    """

    width: int
    tensors: list[Any] = field(default_factory=list)
    makers: list[Any] = field(default_factory=list)
    parts: tuple[Any, ...] = ()
    is_fixed: bool = False

    @property
    def is_free(self) -> bool:
        """Whether the width is that of its makers alone."""
        return not self.is_fixed and not self.parts and bool(self.makers)


class Widths:
    """The groups of a functional model without submodels.

    Layers without weights whose output is as wide as what they read are taken for elementwise ones.
    """

    def __init__(self, model: Any) -> None:
        self._parent: dict[Any, Any] = {}
        self._tensors: dict[int, Any] = {}
        self._makers: list[tuple[int, Any]] = []
        self._parts: dict[int, tuple[Any, ...]] = {}
        self._fixed: list[int] = []
        for tensor in _floats(model.inputs):
            self._tensors[id(tensor)] = tensor
            self._fixed.append(id(tensor))
        for node in calls_in_order(model):
            self._read(node)
        self._fixed.extend(id(tensor) for tensor in model.outputs)
        self._groups = self._gathered()

    @property
    def groups(self) -> list[WidthGroup]:
        """Every group once, in the order of the graph."""
        return list(self._groups.values())

    def has(self, tensor: Any) -> bool:
        """Whether a tensor has a width: a float of more than the batch."""
        return id(tensor) in self._tensors

    def group_of(self, tensor: Any) -> WidthGroup:
        """The group of a float tensor of the model."""
        return self._groups[self._root(id(tensor))]

    def _read(self, node: Any) -> None:
        outputs = _floats(tf.nest.flatten(node.outputs))
        inputs = _floats(node.keras_inputs)
        for tensor in outputs:
            self._tensors[id(tensor)] = tensor
        layer = node.layer
        if not outputs:
            return
        if isinstance(layer, (keras.layers.Embedding, keras.layers.Dense)):
            self._make(layer, inputs, outputs)
        elif layer.weights and not isinstance(layer, FOLLOWERS):
            self._fixed.extend(map(id, outputs))
        elif isinstance(layer, FOLLOWERS):
            self._join([*inputs[:1], *outputs])
        else:
            self._follow(layer, inputs, outputs)

    def _make(self, layer: Any, inputs: list[Any], outputs: list[Any]) -> None:
        """A layer that is called twice reads and gives equal widths in both calls."""
        plain = type(layer) in (keras.layers.Embedding, keras.layers.Dense)
        for tensor in outputs:
            self._union(("gives", id(layer)), id(tensor))
            self._makers.append((id(tensor), layer))
            if not plain:
                self._fixed.append(id(tensor))
        for tensor in inputs:
            self._union(("reads", id(layer)), id(tensor))

    def _follow(self, layer: Any, inputs: list[Any], outputs: list[Any]) -> None:
        """What a layer without weights gives."""
        (out, *others), widths = outputs, [tensor.shape[-1] for tensor in inputs]
        if not others and len(inputs) >= FEWEST_JOINED and _lays_side_by_side(out, inputs):
            self._parts[id(out)] = tuple(inputs)
        elif not others and len(inputs) == 1 and (repeats := _flattened(inputs[0], out)):
            if repeats == 1:
                self._join([*inputs, out])
            else:
                self._parts[id(out)] = tuple(inputs) * repeats
        elif all(tensor.shape[-1] in widths for tensor in outputs):
            for tensor in outputs:
                self._join([tensor, *(one for one in inputs if one.shape[-1] == tensor.shape[-1])])
        else:
            self._fixed.extend(map(id, outputs))
            for width in set(widths):
                self._join([one for one in inputs if one.shape[-1] == width])

    def _join(self, tensors: Sequence[Any]) -> None:
        for tensor in tensors[1:]:
            self._union(id(tensors[0]), id(tensor))

    def _root(self, key: Any) -> Any:
        while self._parent.get(key, key) != key:
            key = self._parent[key]
        return key

    def _union(self, one: Any, other: Any) -> None:
        self._parent[self._root(one)] = self._root(other)

    def _gathered(self) -> dict[Any, WidthGroup]:
        groups: dict[Any, WidthGroup] = {}
        for key, tensor in self._tensors.items():
            group = groups.setdefault(self._root(key), WidthGroup(int(tensor.shape[-1] or 0)))
            group.tensors.append(tensor)
        for key, layer in self._makers:
            makers = groups[self._root(key)].makers
            if not any(layer is one for one in makers):
                makers.append(layer)
        for key, parts in self._parts.items():
            groups[self._root(key)].parts = groups[self._root(key)].parts or parts
        for key in self._fixed:
            if self._root(key) in groups:
                groups[self._root(key)].is_fixed = True
        return groups

    def columns(self, tensor: Any, choose: Callable[[WidthGroup], Columns]) -> Columns:
        """Which columns of a tensor are kept, where `choose` says it of free groups: those of fixed ones all are."""
        group = self.group_of(tensor)
        if group.is_fixed:
            return np.arange(group.width)
        if not group.parts:
            return choose(group)
        starts = np.cumsum([0, *(part.shape[-1] for part in group.parts)])
        kept = [self.columns(part, choose) + start for part, start in zip(group.parts, starts, strict=False)]
        return np.concatenate(kept)


def _floats(tensors: Sequence[Any]) -> list[Any]:
    return [tensor for tensor in tensors if tf.as_dtype(tensor.dtype).is_floating and tensor.shape.rank > 1]


def _lays_side_by_side(out: Any, inputs: Sequence[Any]) -> bool:
    """Whether the last axis of the output is that of the inputs one after the other."""
    before = [tensor.shape[1:-1].as_list() for tensor in inputs]
    widths = [tensor.shape[-1] for tensor in inputs]
    return out.shape[-1] == sum(widths) and all(shape == out.shape[1:-1].as_list() for shape in before)


def _flattened(tensor: Any, out: Any) -> int:
    """How many rows of a tensor lie side by side in the output; 0 where they do not."""
    rows = tensor.shape[1:-1].num_elements()
    is_flat = out.shape.rank < tensor.shape.rank and rows and out.shape[1:].as_list() == [rows * tensor.shape[-1]]
    return int(rows) if is_flat else 0
