"""Which layers an int8 file keeps in float: the exporter's rules, read off the layers before there is a file.

A range on a layer decides that the converter makes int8 of it, whatever the exporter would have liked. So training
with rounding has to leave out what `tfshop.export.precision` leaves out, for its reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from tfshop._keras import keras, tf
from tfshop.compression._operators import LOOKUPS, Operators
from tfshop.compression.roles import (
    has_learned_activation,
    layers_with,
    output_tensors,
    readers,
    source_layers,
    source_tensors,
    unwrapped,
)
from tfshop.numerics.narrow import is_few

AROUND_FEW = "the scores hang on few numbers there, which need more levels than 256"


def rounded_layers(model: Any, roles: Sequence[str], operators: Mapping[str, Operators]) -> tuple[str, ...]:
    """Names of the Dense layers of these roles that train with rounding.

    Not those around few numbers, which are floats in the file, nor those whose activation has weights of its own.

    Args:
        model: Flat functional model.
        roles: As QAT takes them.
        operators: Of each layer, by name.
    """
    few = _around_few(model, operators)
    named = layers_with(model, roles)
    return tuple(name for name in named if name not in few and not has_learned_activation(model.get_layer(name)))


def float_zones(model: Any, operators: Mapping[str, Operators], rounded: Collection[str]) -> dict[str, str]:
    """Names of the layers that stay in float, each with the reason.

    Args:
        model: Flat functional model.
        operators: Of each layer, by name; inputs have none.
        rounded: Layers that train with rounding, and are int8 for that.
    """
    zones: dict[str, str] = {}
    for found, reason in (
        (_head(model, operators, rounded), "it belongs to the head, which stays in float"),
        (_around_few(model, operators), AROUND_FEW),
        (_raw_numbers(model, operators), "it works on raw numbers, which do not survive 256 levels"),
        (_masks(model, operators), "it works on a mask made from ids, which stays in float"),
        (_normalizations(model, operators), "it normalizes, and a small variance does not survive 256 levels"),
    ):
        for name in found:
            if name not in rounded:
                zones.setdefault(name, reason)
    return zones


def is_lookup(layer: Any, operators: Mapping[str, Operators], model: Any) -> bool:
    """Whether a layer picks rows of a table by ids."""
    reads_ids = any(tf.as_dtype(tensor.dtype).is_integer for tensor in source_tensors(layer, model))
    return reads_ids and gives_floats(layer, model) and bool(operators[layer.name].on_floats & LOOKUPS)


def gives_floats(layer: Any, model: Any) -> bool:
    """Whether everything a layer gives is float."""
    return all(tf.as_dtype(tensor.dtype).is_floating for tensor in output_tensors(layer, model))


def _head(model: Any, operators: Mapping[str, Operators], rounded: Collection[str]) -> set[str]:
    """From the outputs back to the nearest products, those included; a product with one number is passed over."""

    def is_end(layer: Any) -> bool:
        return layer.name in rounded or _is_wide_end(layer, operators, model)

    outputs = [tensor._keras_history.layer for tensor in model.outputs]
    return _back(model, operators, outputs, is_end)


def _back(model: Any, operators: Mapping[str, Operators], starts: list[Any], is_end: Callable[[Any], bool]) -> set[str]:
    waiting, found = list(starts), set[str]()
    while waiting:
        layer = waiting.pop()
        if layer.name in found or layer.name not in operators or is_end(layer):
            continue
        found.add(layer.name)
        if not operators[layer.name].has_product or _scales_one_number(layer):
            waiting.extend(source_layers(layer, model))
    return found


def _around_few(model: Any, operators: Mapping[str, Operators]) -> set[str]:
    """Along the way that everything in a score takes: Dense layers that read few numbers, and what gives these."""
    found: set[str] = set()
    for tensor in model.outputs:
        layer = tensor._keras_history.layer
        while layer.name in operators and not is_lookup(layer, operators, model):
            sources = source_layers(layer, model)
            if _reads_few(layer, model):
                found |= {layer.name}
                found |= _back(model, operators, sources, lambda one: _is_wide_end(one, operators, model))
            if len(sources) != 1:
                break
            layer = sources[0]
    return found


def _is_wide_end(layer: Any, operators: Mapping[str, Operators], model: Any) -> bool:
    """Whether what comes before a layer has a range of its own: a lookup, or many numbers put side by side."""
    if operators[layer.name].is_concatenation:
        return not all(map(_is_few, output_tensors(layer, model)))
    return is_lookup(layer, operators, model)


def _scales_one_number(layer: Any) -> bool:
    layer = unwrapped(layer)
    return type(layer) is keras.layers.Dense and layer.kernel.shape[0] == 1


def _reads_few(layer: Any, model: Any) -> bool:
    is_dense = type(unwrapped(layer)) is keras.layers.Dense
    return is_dense and all(map(_is_few, source_tensors(layer, model)))


def _is_few(tensor: Any) -> bool:
    return is_few(tensor.shape[1:].num_elements())


def _raw_numbers(model: Any, operators: Mapping[str, Operators]) -> set[str]:
    """From the float inputs on to the first products, and the first concatenations, those included."""
    starts = [layer for layer in model.layers if layer.name not in operators and gives_floats(layer, model)]
    return _forward(model, operators, starts, through_concatenations=True)


def _masks(model: Any, operators: Mapping[str, Operators]) -> set[str]:
    """From what makes floats of ids on to the product that applies them."""
    makers = [layer for layer in model.layers if layer.name in operators and operators[layer.name].casts]
    found = {layer.name for layer in makers}
    starts = [layer for layer in makers if not operators[layer.name].has_product]
    return found | _forward(model, operators, starts, with_products=True)


def _normalizations(model: Any, operators: Mapping[str, Operators]) -> set[str]:
    """Layers that normalize, with what lies between them and the products around them."""
    makers = [layer for layer in model.layers if layer.name in operators and operators[layer.name].normalizes]

    def is_end(layer: Any) -> bool:
        known = operators[layer.name]
        ends = known.is_concatenation or is_lookup(layer, operators, model)
        return ends or (known.has_product and layer not in makers)

    return _back(model, operators, makers, is_end) | _forward(model, operators, makers)


def _forward(
    model: Any,
    operators: Mapping[str, Operators],
    starts: list[Any],
    *,
    through_concatenations: bool = False,
    with_products: bool = False,
) -> set[str]:
    """Layers reached from `starts` up to products and concatenations, which are included where it is said so."""
    waiting, found = list(starts), set[str]()
    while waiting:
        for layer in readers(waiting.pop(), model):
            if layer is None or layer.name in found:
                continue
            known = operators[layer.name]
            joins = known.is_concatenation
            if (known.has_product and not with_products) or (joins and not through_concatenations):
                continue
            found.add(layer.name)
            if not known.has_product and not joins:
                waiting.append(layer)
    return found
