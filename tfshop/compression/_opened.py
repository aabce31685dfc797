"""Layers that compute in several steps, laid open: every int8 tensor of the file gets a range of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfshop._keras import keras, tf
from tfshop.compression._float_zones import float_zones, gives_floats
from tfshop.compression._operators import Operators
from tfshop.compression.rebuild import copy_model
from tfshop.compression.roles import calls_of, carries_mask
from tfshop.models.rebuild import PATH, fresh

_MERGES = ("Add", "Multiply", "Average")


def opened(model: Any, rounded: tuple[str, ...], operators: Mapping[str, Operators]) -> Any:
    """The model with an operator a layer where ours, and Keras' sums and products, run several that int8 rounds.

    An identity keeps the name of the layer that was there. What stays in float, has weights, is called several times or
    has a mask, which operators would not give on, is left as it is. A model without any comes back itself.

    Args:
        model: Flat functional model.
        rounded: Layers that train with rounding.
        operators: Of each layer, by name.
    """
    in_float = float_zones(model, operators, rounded)
    others = [layer for layer in model.layers if layer.name in operators and layer.name not in in_float]
    wanted = {layer.name for layer in others if _can_be_opened(layer, operators, model)}
    if not wanted:
        return model
    names: dict[str, str] = {}
    apart = copy_model(model, lambda layer: _Opened(layer, names) if layer.name in wanted else fresh(layer))
    return copy_model(apart, lambda layer: fresh(layer, names.get(layer.name)))


def _can_be_opened(layer: Any, operators: Mapping[str, Operators], model: Any) -> bool:
    ours = type(layer).__module__.startswith("tfshop.layers.") or type(layer).__name__ in _MERGES
    once = len(calls_of(layer, model)) == 1 and not layer.weights
    is_plain = once and gives_floats(layer, model) and not carries_mask(layer, model)
    return ours and is_plain and operators[layer.name].count > 1


class _Opened:
    """Stands for a layer in a copy: where it is called, the operators of its `call` are left."""

    def __init__(self, layer: Any, names: dict[str, str]) -> None:
        self._layer = fresh(layer)
        self._names = names

    def __call__(self, inputs: Any) -> Any:
        known = {id(tensor._keras_history.layer) for tensor in tf.nest.flatten(inputs)}
        self._layer.build(tf.nest.map_structure(lambda tensor: tensor.shape, inputs))
        outputs = self._layer.call(inputs)
        self._tell_names(outputs, known)
        return keras.layers.Activation("linear", name=self._layer.name)(outputs)

    def _tell_names(self, outputs: Any, known: set[int]) -> None:
        """Operators by the layer they are of: Keras numbers them through the whole process."""
        waiting, found = [outputs._keras_history.layer], list[Any]()
        while waiting:
            layer = waiting.pop()
            if id(layer) in known:
                continue
            known.add(id(layer))
            found.append(layer)
            waiting.extend(tensor._keras_history.layer for tensor in layer._inbound_nodes[0].keras_inputs)
        for number, layer in enumerate(reversed(found)):
            self._names[layer.name] = f"{self._layer.name}{PATH}{number}_{layer.name.split('.')[-1].split('_')[0]}"

    def set_weights(self, weights: list[Any]) -> None:
        """There are none."""
