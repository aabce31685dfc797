"""Whether two networks are one and the same, whatever their weights are."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from tfshop._keras import tf
from tfshop.compression.rebuild import KeepZeros
from tfshop.compression.roles import unwrapped
from tfshop.models.rebuild import calls_in_order

Numbers = dict[Hashable, int]
# Settings of a layer by which it computes nothing else: what it starts from, whether it learns, how it is called.
WITHOUT_EFFECT = ("name", "trainable", "seed", "rng_type", "batch_input_shape")


def are_alike(model: Any, other: Any) -> bool:
    """Whether two functional models have the same layers, with the same settings, that read the same things.

    Inputs, outputs and layers with weights have to have the same names, others any. Weights may be any, those that do
    not train and zeros that are kept too, and so may ranges of QAT.

    Raises:
        NotImplementedError, TypeError, ValueError: For a layer whose settings cannot be read or compared.
    """
    numbers: Numbers = {}
    return _described(model, numbers) == _described(other, numbers)


def _described(model: Any, numbers: Numbers) -> tuple[Any, ...]:
    """Names of what goes in and out, and the numbers of the outputs.

    Tensors of two models have one number where the same layers give them of tensors of one number.
    """
    found: dict[int, int] = {}
    for tensor in model.inputs:
        given = (tensor._keras_history.layer.name, tf.as_dtype(tensor.dtype).name, tuple(tensor.shape))
        found[id(tensor)] = numbers.setdefault(given, len(numbers))
    for node in calls_in_order(model):
        call = (_described_layer(node.layer), tuple(found[id(tensor)] for tensor in node.keras_inputs))
        for position, tensor in enumerate(tf.nest.flatten(node.outputs)):
            found[id(tensor)] = numbers.setdefault((call, position), len(numbers))
    outputs = [found[id(tensor)] for tensor in model.outputs]
    return sorted(model.input_names), list(model.output_names), outputs


def _described_layer(layer: Any) -> Hashable:
    layer = unwrapped(layer)
    shapes = tuple(sorted(tuple(weight.shape) for weight in layer.weights))
    return type(layer), shapes and layer.name, shapes, _comparable(layer.get_config())


def _comparable(value: Any) -> Hashable:
    """Settings with an effect; lists and tuples are one, as they are once they were read from a file."""
    if isinstance(value, Mapping):
        if value.get("class_name") == KeepZeros.__name__:
            return _comparable(value["config"]["before"])
        return tuple(sorted((name, _comparable(part)) for name, part in value.items() if _has_effect(name)))
    if isinstance(value, (list, tuple)):
        return tuple(_comparable(part) for part in value)
    hashable: Hashable = value
    return hashable


def _has_effect(setting: str) -> bool:
    return setting not in WITHOUT_EFFECT and not setting.endswith("_initializer")
