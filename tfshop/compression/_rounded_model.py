"""The model that trains with rounding, and the one it becomes: ranges as constants, kernels on their grid."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfshop._keras import keras
from tfshop.compression._frozen_statistics import StatisticsUntil
from tfshop.compression._quantize_rules import DenseRule, OutputRule
from tfshop.compression._quantizers import LEVELS, LearnedSteps, SharedValues, first_steps, on_int8_grid
from tfshop.compression._range_places import RangePlaces, range_name
from tfshop.compression._tfmot import QuantizeWrapperV2
from tfshop.compression._weight_rules import WeightRule, weight_rule
from tfshop.compression.rebuild import KeepZeros, copy_model
from tfshop.compression.roles import calls_of, readers, unwrapped
from tfshop.layers import OutputRange
from tfshop.models.rebuild import copy_weights, fresh, weights_by_name

INT8 = 8  # bits
BATCHED_KERNELS = ("EinsumDense", "ExpertKernels")
FUSED_ACTIVATIONS = (keras.activations.linear, keras.activations.relu)


@dataclass(frozen=True)
class Rounding:
    """How a model trains with rounding.

    Attributes:
        places: Where.
        ranges: Layer to the range its output begins with.
        follows: Whether ranges follow the batches.
        bits: Of the kernels.
        masks: Layer to the 0/1 mask of the zeros it keeps.
        shared: Layer to the numbers of the values its weights share; these train in 8 bits.
        held: Layers that do not train.
        moving_steps: Steps in which a BatchNormalization sees the batch.
    """

    places: RangePlaces
    ranges: Mapping[str, tuple[float, float]]
    follows: bool = True
    bits: int = INT8
    masks: Mapping[str, np.ndarray] = field(default_factory=dict)
    shared: Mapping[str, np.ndarray] = field(default_factory=dict)
    held: Collection[str] = ()
    moving_steps: int | None = None

    def weight_rule(self, layer: Any) -> WeightRule | None:
        """How a layer other than Dense is rounded that has a weight which is int8 in the file, and trains so."""
        free = layer.name not in self.held and layer.name not in self.places.in_float
        return weight_rule(layer) if free else None

    def learns_steps(self, name: str) -> bool:
        """Whether the kernel of a layer has a trained step a channel."""
        return self.bits < INT8 and name in self.places.rounded and name not in self.shared


def activations_apart(model: Any, names: Collection[str]) -> Any:
    """The model with activations the converter does not fuse in layers of their own, behind the layers named.

    What a Dense layer gives before its sigmoid is a tensor of the file, and wants a range. So do batched kernels.
    """

    def replace(layer: Any) -> Any:
        copied = fresh(layer)
        has_kernel = layer.name in names or type(layer).__name__ in BATCHED_KERNELS
        if not has_kernel or not _has_activation_of_its_own(layer, model):
            return copied
        apart = keras.layers.Activation(copied.activation, name=f"{layer.name}_activation")
        copied.activation = keras.activations.linear
        return copied, apart

    return copy_model(model, replace)


def _has_activation_of_its_own(layer: Any, model: Any) -> bool:
    return layer.activation not in FUSED_ACTIVATIONS and None not in readers(layer, model)


def rounded_model(model: Any, rounding: Rounding) -> Any:
    """TF-MOT's wrappers around the layers that train with rounding, and around whatever else gets a range."""
    places = rounding.places

    def replace(layer: Any) -> Any:
        copied = fresh(layer)
        copied.trainable = copied.trainable and layer.name not in rounding.held
        rule = OutputRule(follows=rounding.follows and layer.name not in places.fixed)
        if layer.name in places.rounded:
            return QuantizeWrapperV2(copied, _dense_rule(copied, rounding), name=layer.name)
        if layer.name in places.within:
            return QuantizeWrapperV2(copied, rule, name=layer.name)
        if type(layer) is keras.layers.BatchNormalization and rounding.moving_steps is not None:
            copied = StatisticsUntil(copied, rounding.moving_steps * len(calls_of(layer, model)))
        weights = rounding.weight_rule(layer)
        if weights is not None:
            copied = QuantizeWrapperV2(copied, weights, name=layer.name)
        if layer.name in places.behind:
            identity = _identity(layer.name)
            return copied, QuantizeWrapperV2(identity, rule, name=identity.name)
        return copied

    wrapped = copy_model(model, replace)
    for name, holder in places.holders.items():
        # TF-MOT starts at +-6 and follows at 0.1% a step: a short training would never leave that
        low, high = places.fixed.get(name) or rounding.ranges[name]
        ranges = wrapped.get_layer(holder)._output_quantizer_vars
        ranges["min_var"].assign(low)
        ranges["max_var"].assign(high)
    for name in filter(rounding.learns_steps, places.rounded):
        kernel, _, steps = wrapped.get_layer(name)._weight_vars[0]
        steps["steps"].assign(first_steps(kernel.numpy(), rounding.bits))
    return wrapped


def _dense_rule(layer: Any, rounding: Rounding) -> DenseRule:
    """How one Dense layer is rounded; its zeros are kept from here on."""
    name, kernel = layer.name, None
    if name in rounding.masks:
        layer.kernel_constraint = KeepZeros(rounding.masks[name])
    if name in rounding.shared:
        kernel = SharedValues(rounding.shared[name])
    elif rounding.learns_steps(name):
        kernel = LearnedSteps(rounding.bits)
    follows = rounding.follows and name not in rounding.places.fixed
    return DenseRule(kernel, with_output=name in rounding.places.within, follows=follows)


def _identity(name: str) -> Any:
    return keras.layers.Activation("linear", name=range_name(name))


def frozen_model(model: Any, wrapped: Any, places: RangePlaces) -> Any:
    """The plain model with the trained weights on their grid and the trained ranges as constants."""

    def ranged(holder: str, layer: Any) -> Any:
        ranges = wrapped.get_layer(holder)._output_quantizer_vars
        return OutputRange(layer, float(ranges["min_var"]), float(ranges["max_var"]))

    def replace(layer: Any) -> Any:
        if layer.name in places.within:
            return ranged(layer.name, fresh(layer))
        if layer.name in places.behind:
            return fresh(layer), ranged(range_name(layer.name), _identity(layer.name))
        return fresh(layer)

    frozen = copy_model(model, replace)
    for layer in model.layers:
        if not layer.weights:
            continue
        trained, bare = wrapped.get_layer(layer.name), unwrapped(frozen.get_layer(layer.name))
        if layer.name in places.rounded:
            bare.set_weights(_trained_weights(trained))
        elif isinstance(trained, QuantizeWrapperV2):
            _copy_rounded(trained, bare)
        else:
            copy_weights(trained.layer if isinstance(trained, StatisticsUntil) else trained, bare)
    return frozen


def _copy_rounded(wrapper: Any, layer: Any) -> None:
    """Give a layer the weights of a wrapped one, its kernel or slopes on their grid."""
    weight, quantizer, _ = wrapper._weight_vars[0]
    known = weights_by_name(wrapper)
    for name, variable in weights_by_name(layer).items():
        variable.assign(quantizer.rounded(weight) if known[name] is weight else known[name])


def _trained_weights(wrapper: Any) -> list[np.ndarray]:
    """Kernel on its grid, then the bias if there is one."""
    kernel, quantizer, variables = wrapper._weight_vars[0]
    if isinstance(quantizer, SharedValues):
        kernel = quantizer.shared(kernel).numpy()
    elif isinstance(quantizer, LearnedSteps):
        kernel = on_int8_grid(quantizer(kernel, False, variables).numpy())
    else:
        kernel = on_int8_grid(kernel.numpy())
    return [kernel, weights_by_name(wrapper)["bias"].numpy()] if wrapper.layer.use_bias else [kernel]


def levels_of(kernel: np.ndarray) -> int:
    """How many int8 numbers the exporter will write a kernel in."""
    scale = np.abs(kernel).max(axis=0, keepdims=True) / LEVELS
    return len(np.unique(np.round(kernel / np.where(scale > 0, scale, 1.0))))
