"""Where a network gets trained ranges: on every tensor that is int8 in the file and has a range of its own there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from tfshop._keras import keras
from tfshop.compression._float_zones import float_zones, gives_floats, is_lookup
from tfshop.compression._operators import Operators, OperatorsByLayer
from tfshop.compression.roles import calls_of, carries_mask, output_tensors, readers, source_layers, unwrapped
from tfshop.models.rebuild import foreign_parts

_FUNCTIONS = frozenset({"Lambda", "TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod", "InstanceProperty"})
_FUSED = ("Add", "Subtract", "Multiply", "BatchNormalization", "Bias")
# The kernels of these operators know no other ranges.
FIXED = {"Sigmoid": (0.0, 255 / 256), "Softmax": (0.0, 255 / 256), "Tanh": (-1.0, 127 / 128)}


@dataclass(frozen=True)
class RangePlaces:
    """Names of layers, by how they are treated.

    Attributes:
        rounded: Dense layers whose kernel trains with rounding.
        within: Layers whose wrapper holds the range of their output.
        behind: Layers followed by an identity that holds the range: what cannot be wrapped, because it has weights of
            its own, takes several arguments, or nobody knows what it does.
        fixed: Layer to its range, where the operator allows one only.
        in_float: Layers that stay in float in the file, each with the reason.
    """

    rounded: tuple[str, ...]
    within: tuple[str, ...]
    behind: tuple[str, ...]
    fixed: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    in_float: Mapping[str, str] = field(default_factory=dict)

    @property
    def holders(self) -> dict[str, str]:
        """Layer whose output has a range -> the layer that holds it."""
        return {**{name: name for name in self.within}, **{name: range_name(name) for name in self.behind}}


def range_name(name: str) -> str:
    """Name of the identity behind a layer."""
    return f"{name}_range"


def range_places(model: Any, rounded: tuple[str, ...], operators: Mapping[str, Operators] | None = None) -> RangePlaces:
    """Find the places of a flat model whose `rounded` layers have no activation but the rectifier.

    A tensor gets a range where int8 operators give it or read it. None get those that the file does not have, or that
    have no scale of their own there:

    1. What the converter fuses: a Dense layer before its BatchNormalization, a layer before its rectifier.
    2. What only a concatenation reads: int8 has one scale for all that it joins, that of the result.
    3. What is only reshaped or cut, where the tensor it is made from has a range.

    Args:
        model: Flat functional model.
        rounded: Layers that train with rounding.
        operators: Of each layer of this very model, by name, where they are known; else they are traced.
    """
    return _Search(model, rounded, OperatorsByLayer(model) if operators is None else operators).places()


class _Search:
    """One walk over the layers in order."""

    def __init__(self, model: Any, rounded: tuple[str, ...], operators: Mapping[str, Operators]) -> None:
        self._model = model
        self._rounded = rounded
        self._layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
        self._operators = operators
        self._in_float = float_zones(model, operators, rounded)
        self._tables = {layer.name for layer in self._layers if is_lookup(layer, operators, model)}

    def places(self) -> RangePlaces:
        """What was found."""
        ranged: list[Any] = []
        for layer in self._layers:  # in the order of the graph: what a layer reads comes before it
            names = {other.name for other in ranged}
            if self._is_int8(layer) and not self._is_absorbed(layer) and not self._is_moved(layer, names):
                ranged.append(layer)
        return RangePlaces(
            rounded=self._rounded,
            within=tuple(layer.name for layer in ranged if self._can_be_wrapped(layer)),
            behind=tuple(layer.name for layer in ranged if not self._can_be_wrapped(layer)),
            fixed={layer.name: fixed for layer in ranged if (fixed := FIXED.get(self._operators[layer.name].last))},
            in_float=self._in_float,
        )

    def _is_int8(self, layer: Any) -> bool:
        """Whether int8 operators give or read what a layer gives, one float tensor a call; tables are left alone."""
        tensors = output_tensors(layer, self._model)
        if carries_mask(layer, self._model):
            return False  # a trained range would not give the mask on; the exporter measures these
        if layer.name in self._tables or not gives_floats(layer, self._model):
            return False
        if len(tensors) != len(calls_of(layer, self._model)):
            return False
        return layer.name not in self._in_float or any(
            reader is not None and reader.name not in self._in_float and gives_floats(reader, self._model)
            for reader in readers(layer, self._model)
        )

    def _is_absorbed(self, layer: Any) -> bool:
        """Whether the file has no tensor for the output of a layer, or lends it the scale of the next one."""
        calls = readers(layer, self._model)
        if not calls or None in calls:
            return False
        known = [self._operators[reader.name] for reader in calls]
        if len(calls) == 1 and (_normalizes(layer, calls[0], self._model) or self._is_fused(layer, known[0])):
            return True
        if all(self._joins(reader) for reader in calls):
            return True
        return self._operators[layer.name].is_move and all(
            self._joins(reader) or self._operators[reader.name].is_move for reader in calls
        )

    def _is_fused(self, layer: Any, reader: Operators) -> bool:
        bare = unwrapped(layer)
        is_linear = layer.name in self._rounded and bare.activation is keras.activations.linear
        return reader.is_relu and (is_linear or type(bare).__name__ in _FUSED)

    def _joins(self, reader: Any) -> bool:
        return self._operators[reader.name].is_concatenation and self._is_int8(reader)

    def _is_moved(self, layer: Any, ranged: Collection[str]) -> bool:
        """Whether a layer only moves numbers that have a range."""
        if not self._operators[layer.name].is_move:
            return False
        sources = source_layers(layer, self._model)
        return all(source.name in ranged or self._is_moved_source(source, ranged) for source in sources)

    def _is_moved_source(self, source: Any, ranged: Collection[str]) -> bool:
        return source.name in self._operators and source.name not in self._tables and self._is_moved(source, ranged)

    def _can_be_wrapped(self, layer: Any) -> bool:
        if layer.name in self._rounded:
            return True
        return not layer.weights and type(layer).__name__ not in _FUNCTIONS and not foreign_parts(layer)


def _normalizes(layer: Any, reader: Any, model: Any) -> bool:
    """Whether the converter folds a BatchNormalization into the linear layer before it."""
    linear = getattr(unwrapped(layer), "activation", None) is keras.activations.linear
    is_dense = isinstance(unwrapped(layer), keras.layers.Dense)
    folds = type(reader) is keras.layers.BatchNormalization and len(source_layers(reader, model)) == 1
    return bool(linear and is_dense and folds)
