"""What part a layer plays: passes choose layers by role, never by position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tfshop._keras import keras, tf
from tfshop.errors import PlanError
from tfshop.layers import OutputRange
from tfshop.layers.crosses import CROSS_PREFIX

ROLES = ("dense", "cross", "head", "table", "other")
TABLE = "table"


def unwrapped(layer: Any) -> Any:
    """The layer itself, without the wrapper that holds its trained range."""
    return layer.layer if isinstance(layer, OutputRange) else layer


def roles(model: Any) -> Mapping[str, str]:
    """Role of each top-level layer by name; submodels are to be inlined before.

    "table" is an Embedding, "cross" the kernel of a matrix cross, "head" a Dense layer that nothing but sums,
    activations and other layers without weights, of one number a row, separates from the output, "dense" any other
    Dense layer, "other" the rest.
    """
    heads = _head_names(model)
    return {layer.name: _role(unwrapped(layer), heads) for layer in model.layers}


def layers_with(model: Any, wanted: Sequence[str]) -> tuple[str, ...]:
    """Names of the layers that have one of the wanted roles, in model order."""
    return tuple(name for name, role in roles(model).items() if role in wanted)


def require_known_roles(wanted: Sequence[str], *, wanted_by: str, allowed: Sequence[str]) -> None:
    """Raise `PlanError` for no role at all, or one that `wanted_by` has no rule for."""
    if not wanted:
        raise PlanError(f"{wanted_by} has no roles. Expected some of {', '.join(allowed)}. Fix: leave roles out.")
    for role in wanted:  # every one of them: a misspelt role beside a good one would go unnoticed
        if role not in allowed:
            raise PlanError(
                f"{wanted_by} cannot treat role {role!r}. Expected roles from {', '.join(allowed)}; "
                f"got {', '.join(wanted)}. Fix: {wanted_by}(roles=({allowed[0]!r},))."
            )


def require_roles(model: Any, wanted: Sequence[str], *, wanted_by: str, allowed: Sequence[str]) -> None:
    """Raise `PlanError` for a role that `wanted_by` has no rule for, or that no layer of the model plays."""
    require_known_roles(wanted, wanted_by=wanted_by, allowed=allowed)
    if not layers_with(model, wanted):
        found = sorted(set(roles(model).values()))
        raise PlanError(
            f"{wanted_by} finds no layer with role {', '.join(wanted)} in {model.name!r}. Found roles: "
            f"{', '.join(found)}. Fix: {wanted_by}(roles=…) with one of those, or leave {wanted_by} out."
        )


def _role(layer: Any, heads: set[str]) -> str:
    if isinstance(layer, keras.layers.Embedding):
        return "table"
    if type(layer) is not keras.layers.Dense:  # what a subclass does with its kernel nobody knows
        return "other"
    if layer.name in heads:
        return "head"
    return "cross" if layer.name.startswith(f"{CROSS_PREFIX}_") else "dense"


def _head_names(model: Any) -> set[str]:
    """Dense layers that nothing without weights, one number a row, separates from the outputs."""
    waiting = [tensor for tensor in model.outputs if _is_score(tensor)]
    heads, seen = set(), set()
    while waiting:
        layer = waiting.pop()._keras_history.layer
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        if isinstance(unwrapped(layer), keras.layers.Dense):
            heads.add(layer.name)
        elif not layer.weights:
            waiting.extend(tensor for tensor in source_tensors(layer, model) if _is_score(tensor))
    return heads


def _is_score(tensor: Any) -> bool:
    """One float a row."""
    return bool(tf.as_dtype(tensor.dtype).is_floating and tensor.shape[1:].num_elements() == 1)


def source_layers(layer: Any, model: Any) -> list[Any]:
    """Layers that feed `layer` inside `model`."""
    return [tensor._keras_history.layer for tensor in source_tensors(layer, model)]


def source_tensors(layer: Any, model: Any) -> list[Any]:
    """What `layer` reads inside `model`, in all its calls."""
    return [tensor for node in calls_of(layer, model) for tensor in node.keras_inputs]


def output_tensors(layer: Any, model: Any) -> list[Any]:
    """What `layer` gives inside `model`, in all its calls."""
    return [tensor for node in calls_of(layer, model) for tensor in tf.nest.flatten(node.outputs)]


def has_learned_activation(layer: Any) -> bool:
    """Whether the activation of a layer is a layer with weights, such as PReLU."""
    return bool(getattr(getattr(unwrapped(layer), "activation", None), "weights", ()))


def carries_mask(layer: Any, model: Any) -> bool:
    """Whether anything that `layer` reads or gives inside `model` has a mask of Keras."""
    tensors = (*source_tensors(layer, model), *output_tensors(layer, model))
    return any(getattr(tensor, "_keras_mask", None) is not None for tensor in tensors)


def readers(layer: Any, model: Any) -> list[Any]:
    """Layers that read what `layer` gives inside `model`, one entry a call; None for the model's own outputs."""
    given = {id(tensor) for tensor in output_tensors(layer, model)}
    found = [node.layer for node in _nodes(model) if given & {id(tensor) for tensor in node.keras_inputs}]
    outputs = [None for tensor in model.outputs if id(tensor) in given]
    return [*found, *outputs]


def calls_of(layer: Any, model: Any) -> list[Any]:
    """The calls of a layer that belong to `model`."""
    nodes_of_model = {id(node) for node in _nodes(model)}
    return [node for node in layer._inbound_nodes if id(node) in nodes_of_model]


def _nodes(model: Any) -> list[Any]:
    return [node for nodes in model._nodes_by_depth.values() for node in nodes]
