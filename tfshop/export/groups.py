"""Operators of a converted graph by the Keras layer they come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop.errors import ExportError
from tfshop.models.rebuild import PATH, is_submodel
from tfshop.runtime.elements import Operator, Tensor
from tfshop.runtime.graph import Graph
from tfshop.tables import lookup_layers

MOST_SHOWN = 12


def layer_paths(model: Any, prefix: str = "") -> tuple[str, ...]:
    """Every layer of a model as the converter names it: "dense", and "tower/first" in a submodel."""
    paths: list[str] = []
    for layer in model.layers:
        paths.append(prefix + layer.name)
        if is_submodel(layer):
            paths += layer_paths(layer, f"{prefix}{layer.name}{PATH}")
    return tuple(paths)


def operator_groups(graph: Graph, model: Any) -> dict[str, tuple[str, ...]]:
    """Layer -> the outputs, by name, of the operators that compute it in floats, in order of execution.

    The converter fuses operators, whose names it joins: the first of the layers is taken. An operator of no known
    layer is a group of its own.
    """
    paths = layer_paths(model)
    groups: dict[str, list[str]] = {}
    for operator in graph.operators:
        name = _name(graph, operator)
        if operator.kind in {"QUANTIZE", "DEQUANTIZE"} or graph.tensors[operator.outputs[0]].dtype != "float32":
            continue
        found = (_layer_of(_behind_model(part, model), paths) for part in name.split(";"))
        label = next((path for path in found if path is not None), name)
        groups.setdefault(label, []).append(name)
    return {label: tuple(names) for label, names in groups.items()}


def named_operators(graph: Graph, names: Sequence[str], model: Any) -> tuple[str, ...]:
    """Outputs of the operators that compute the named layers or tensors of a model.

    Raises:
        ExportError: For a name that no operator of the graph has.
    """
    found: dict[str, list[str]] = {name: [] for name in names}
    layers = _whole_layers(model)
    for operator in graph.operators:
        output = _name(graph, operator)
        for name in names:
            if name == output or any(_is_of(name, _behind_model(part, model), layers) for part in output.split(";")):
                found[name] += [graph.tensors[index].name for index in operator.outputs]
    missing = [name for name, outputs in found.items() if not outputs]
    if missing:
        known = _some(_name(graph, operator) for operator in graph.operators)
        raise ExportError(
            f"keep_float names {missing[0]!r}, which no operator of the converted graph computes. Expected a Keras "
            f"layer that is left after conversion, or a tensor such as {known}. Fix: leave it out; Dropout and other "
            "layers that do nothing when scoring are not in the file."
        )
    return tuple(dict.fromkeys(output for outputs in found.values() for output in outputs))


def lookup_operators(graph: Graph, model: Any) -> tuple[str, ...]:
    """Outputs of the operators that decode coded tables: in integers their rows would be others.

    Args:
        graph: Of the model, converted to float32, calibrated or not.
        model: With layers by name that may be coded tables; one of them may be called as the model is.
    """
    lookups, layers = lookup_layers(model), _whole_layers(model)
    stored = [array for layer in lookups.values() for array in layer.stored().values() if array.any()]
    found = []
    for operator in graph.operators:
        output = _name(graph, operator)
        parts = [_behind_model(part, model) for part in output.split(";")]
        named = any(_is_of(name, part, layers) for name in lookups for part in parts)
        # The last operator of a layer may have the name of what follows it.
        if named or any(_holds(graph.tensors[index], stored) for index in operator.inputs if index >= 0):
            found += [graph.tensors[index].name for index in operator.outputs]
    return tuple(found)


def require_layers(model: Any, names: Iterable[str]) -> str | None:
    """The first name that can be neither a layer of a model nor a tensor, which has a path."""
    parts: Mapping[str, None] = dict.fromkeys(
        part for path in layer_paths(model) for part in (path, path.split(PATH)[-1])
    )
    return next((name for name in names if name not in parts and PATH not in name and ":" not in name), None)


def _behind_model(part: str, model: Any) -> str:
    """A name without that of the model, which a layer may have too."""
    return part.removeprefix(f"{model.name}{PATH}")


def _layer_of(part: str, paths: Sequence[str]) -> str | None:
    """The outermost layer that a name speaks of, the whole of its path: what is inside may be called as others are."""
    starts = {path: f"{PATH}{part}{PATH}".find(f"{PATH}{path}{PATH}") for path in paths}
    found = [path for path, start in starts.items() if start >= 0]
    return min(found, key=lambda path: (starts[path], -len(path)), default=None)


def _is_part(layer: str, part: str) -> bool:
    return f"{PATH}{layer}{PATH}" in f"{PATH}{part}{PATH}"


def _holds(tensor: Tensor, arrays: Iterable[NDArray[Any]]) -> bool:
    """Whether a constant is one of these arrays: tables of one shape need not be of one codec."""
    held = tensor.data
    return held is not None and any(held.dtype == array.dtype and np.array_equal(held, array) for array in arrays)


def _is_of(layer: str, part: str, layers: frozenset[str]) -> bool:
    """Whether it is the layer itself: a BatchNormalization has an operator `add_1` inside, as a layer may be called."""
    if not _is_part(layer, part):
        return False
    before = f"{PATH}{part}{PATH}".split(f"{PATH}{layer}{PATH}")[0]
    return layers.isdisjoint(before.split(PATH)[1:])


def _whole_layers(model: Any) -> frozenset[str]:
    """Names of the layers that are no submodels."""
    inside = {layer.name for layer in model.layers if not is_submodel(layer)}
    return frozenset(inside.union(*(_whole_layers(layer) for layer in model.layers if is_submodel(layer))))


def _name(graph: Graph, operator: Operator) -> str:
    return graph.tensors[operator.outputs[0]].name


def _some(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in list(dict.fromkeys(names))[:MOST_SHOWN])
