"""Which tensors become integers where one layer of a network is int8, and which layers an int8 file keeps in float."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tfshop._keras import keras, tf
from tfshop.compression._float_zones import float_zones
from tfshop.compression._operators import RELUS, operators_of
from tfshop.compression._range_places import FIXED
from tfshop.compression._rounded_model import activations_apart
from tfshop.compression.rebuild import copy_model
from tfshop.compression.roles import output_tensors, source_tensors, unwrapped
from tfshop.models.rebuild import calls_in_order

Range = tuple[float, float]
TRAINED_RANGES = frozenset({"FakeQuantWithMinMaxArgs"})  # of an `OutputRange`


@dataclass(frozen=True, eq=False)
class Given:
    """A tensor that int8 operators give.

    Attributes:
        tensor: Symbolic.
        fixed: The only range its operator knows; None where it is measured.
    """

    tensor: Any
    fixed: Range | None = None


def with_activations_apart(model: Any, names: Sequence[str]) -> Any:
    """A copy of a model in which what Dense layers give before an activation that no operator fuses is a tensor.

    Args:
        model: Functional model without submodels.
        names: Of layers; those that are no plain Dense stay as they are.
    """
    apart = activations_apart(model, [name for name in names if type(model.get_layer(name)) is keras.layers.Dense])
    return copy_model(model) if apart is model else apart


def left_in_float(model: Any) -> dict[str, str]:
    """Names of the layers that `Export("int8")` leaves in float, each with the reason."""
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    return float_zones(model, {layer.name: operators_of(layer, model) for layer in layers}, ())


def read_in_integers(layer: Any, model: Any) -> list[Any]:
    """Symbolic tensors that a layer reads in int8, in all its calls: its floats."""
    return [tensor for tensor in source_tensors(layer, model) if tf.as_dtype(tensor.dtype).is_floating]


def given_in_integers(layer: Any, model: Any) -> list[Given]:
    """Tensors that a layer gives in int8, in all its calls.

    A BatchNormalization behind a linear Dense layer, and a rectifier, are one operator with it: what they give is.
    An activation of the layer itself, set apart, gives a second one.
    """
    floats = [tensor for tensor in output_tensors(layer, model) if tf.as_dtype(tensor.dtype).is_floating]
    return [given for tensor in floats for given in _given(tensor, layer, model)]


def behind_activation(layer: Any, model: Any) -> list[Any]:
    """What a layer gives, its activation included where that was set apart."""
    calls = [(tensor, _only_reader(tensor, model)) for tensor in output_tensors(layer, model)]
    return [call.outputs if _is_own_activation(call, layer) else tensor for tensor, call in calls]


def _given(tensor: Any, layer: Any, model: Any) -> list[Given]:
    is_dense = type(unwrapped(layer)) is keras.layers.Dense
    reader = _only_reader(tensor, model)
    if is_dense and reader is not None and type(reader.layer) is keras.layers.BatchNormalization:
        tensor = reader.outputs
        reader = _only_reader(tensor, model)
    if reader is None:
        return [Given(tensor)]
    known = operators_of(reader.layer, model)
    if is_dense and known.on_floats & RELUS and known.on_floats <= RELUS | TRAINED_RANGES:
        return [Given(reader.outputs)]
    if _is_own_activation(reader, layer):
        return [Given(tensor), Given(reader.outputs, FIXED.get(known.last))]
    return [Given(tensor)]


def _is_own_activation(call: Any, layer: Any) -> bool:
    is_activation = call is not None and type(call.layer) is keras.layers.Activation
    return is_activation and call.layer.name == f"{layer.name}_activation"


def _only_reader(tensor: Any, model: Any) -> Any:
    """The one call that reads a tensor; None where there are several, or the model gives it."""
    calls = [call for call in calls_in_order(model) if any(read is tensor for read in call.keras_inputs)]
    is_output = any(given is tensor for given in model.outputs)
    return calls[0] if len(calls) == 1 and not is_output else None
