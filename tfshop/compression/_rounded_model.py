"""The model that trains with rounding, and the one it becomes: ranges as constants, kernels on their grid."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfshop._keras import keras
from tfshop.compression._frozen_statistics import StatisticsUntil
from tfshop.compression._quantize_rules import DenseRule, OutputRule
from tfshop.compression._quantizers import ChannelScales, Grid, LearnedSteps, SharedValues, on_int8_grid
from tfshop.compression._range_places import RangePlaces, range_name
from tfshop.compression._tfmot_wrappers import RoundedLayer
from tfshop.compression._weight_rules import INT8, WeightRule, projections, round_projections, weight_rule
from tfshop.compression.rebuild import KeepZeros, copy_model
from tfshop.compression.roles import calls_of, has_learned_activation, readers, unwrapped
from tfshop.layers import OutputRange
from tfshop.models.rebuild import copy_weights, fresh, weights_by_name

PER_CHANNEL = ChannelScales((0,))  # of a Dense layer: (inputs, channels)
BATCHED_KERNELS = ("EinsumDense", "ExpertKernels")
FUSED_ACTIVATIONS = (keras.activations.linear, keras.activations.relu)


@dataclass(frozen=True)
class Rounding:
    """How a model trains with rounding.

    Attributes:
        places: Where.
        ranges: Layer to the range its output begins with.
        follows: Whether ranges follow the batches.
        bits: Of the kernels but for those that share values.
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
        return weight_rule(layer, self.bits) if self._is_free(layer) else None

    def projections(self, layer: Any) -> Mapping[str, Any]:
        """Layers inside an attention whose kernels train with rounding, by attribute; none of others."""
        return projections(layer) if self._is_free(layer) else {}

    def learns_steps(self, name: str) -> bool:
        """Whether the kernel of a Dense layer has a trained step a channel."""
        return self.bits < INT8 and name in self.places.rounded and name not in self.shared

    def _is_free(self, layer: Any) -> bool:
        return layer.name not in self.held and layer.name not in self.places.in_float


def activations_apart(model: Any, names: Collection[str]) -> Any:
    """The model with activations the converter does not fuse in layers of their own, behind the layers named.

    What a Dense layer gives before its sigmoid is a tensor of the file, and wants a range. So do batched kernels. A
    model without any comes back itself.
    """
    with_kernel = [x for x in model.layers if x.name in names or type(x).__name__ in BATCHED_KERNELS]
    wanted = {layer.name for layer in with_kernel if _has_activation_of_its_own(layer, model)}
    if not wanted:
        return model

    def replace(layer: Any) -> Any:
        copied = fresh(layer)
        if layer.name not in wanted:
            return copied
        apart = keras.layers.Activation(copied.activation, name=f"{layer.name}_activation")
        copied.activation = keras.activations.linear
        return copied, apart

    return copy_model(model, replace)


def _has_activation_of_its_own(layer: Any, model: Any) -> bool:
    is_own = layer.activation not in FUSED_ACTIVATIONS and not has_learned_activation(layer)
    return is_own and None not in readers(layer, model)


def rounded_model(model: Any, rounding: Rounding) -> Any:
    """TF-MOT's wrappers around the layers that train with rounding, and around whatever else gets a range."""
    places = rounding.places

    def replace(layer: Any) -> Any:
        copied = _copied(layer, rounding)
        rule = OutputRule(follows=rounding.follows and layer.name not in places.fixed)
        if layer.name in places.rounded:
            return RoundedLayer(copied, _dense_rule(copied, rounding), name=layer.name)
        if layer.name in places.within:
            return RoundedLayer(copied, rule, name=layer.name)
        if type(layer) is keras.layers.BatchNormalization and rounding.moving_steps is not None:
            copied = StatisticsUntil(copied, rounding.moving_steps * len(calls_of(layer, model)))
        weights = rounding.weight_rule(layer)
        if rounding.projections(layer):
            round_projections(copied, rounding.bits)
        if weights is not None:
            copied = RoundedLayer(copied, weights, name=layer.name)
        if layer.name in places.behind:
            identity = _identity(layer.name)
            return copied, RoundedLayer(identity, rule, name=identity.name)
        return copied

    attentions = [layer for layer in model.layers if rounding.projections(layer)]
    wrapped = copy_model(model, replace, unfilled=[layer.name for layer in attentions])
    for layer in attentions:
        for attribute, part in projections(layer).items():
            copy_weights(part, getattr(wrapped.get_layer(layer.name), attribute))
    _start_ranges(wrapped, rounding)
    _start_steps(wrapped)
    return wrapped


def _copied(layer: Any, rounding: Rounding) -> Any:
    copied = fresh(layer)
    if layer.name in rounding.held:  # else what is frozen stays so, inside of the layer too
        copied.trainable = False
    return copied


def _start_ranges(wrapped: Any, rounding: Rounding) -> None:
    for name, holder in rounding.places.holders.items():
        # TF-MOT starts at +-6 and follows at 0.1% a step: a short training would never leave that
        low, high = rounding.places.fixed.get(name) or rounding.ranges[name]
        ranges = wrapped.get_layer(holder)._output_quantizer_vars
        ranges["min_var"].assign(low)
        ranges["max_var"].assign(high)


def _start_steps(wrapped: Any) -> None:
    for wrapper in (layer for layer in wrapped._flatten_layers() if isinstance(layer, RoundedLayer)):
        for weight, quantizer, variables in wrapper._weight_vars:
            if isinstance(quantizer, LearnedSteps):
                variables["steps"].assign(quantizer.first_steps(weight.numpy()))


def _dense_rule(layer: Any, rounding: Rounding) -> DenseRule:
    """How one Dense layer is rounded; its zeros are kept from here on."""
    name, kernel = layer.name, None
    if name in rounding.masks:
        layer.kernel_constraint = KeepZeros(rounding.masks[name], before=layer.kernel_constraint)
    if name in rounding.shared:
        kernel = SharedValues(rounding.shared[name])
    elif rounding.learns_steps(name):
        kernel = LearnedSteps(rounding.bits, PER_CHANNEL)
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
        if layer.weights:
            _freeze(wrapped.get_layer(layer.name), unwrapped(frozen.get_layer(layer.name)))
    return frozen


def _freeze(trained: Any, layer: Any) -> None:
    """Give a plain layer the trained weights, on their grid where they trained with rounding."""
    if isinstance(trained, RoundedLayer):
        _copy_rounded(trained, layer)
    elif projections(trained):
        for attribute, part in projections(trained).items():
            _freeze(part, getattr(layer, attribute))
    else:
        copy_weights(trained.layer if isinstance(trained, StatisticsUntil) else trained, layer)


def _copy_rounded(wrapper: Any, layer: Any) -> None:
    rounded = {id(weight): _on_grid(weight, *how) for weight, *how in wrapper._weight_vars}
    known = weights_by_name(wrapper)
    for name, variable in weights_by_name(layer).items():
        variable.assign(rounded.get(id(known[name]), known[name]))


def _on_grid(weight: Any, quantizer: Any, variables: Mapping[str, Any]) -> Any:
    if isinstance(quantizer, SharedValues):
        return quantizer.shared(weight)
    if isinstance(quantizer, LearnedSteps):
        return quantizer.rounded(weight, variables)
    return quantizer.rounded(weight) if isinstance(quantizer, Grid) else on_int8_grid(weight.numpy())


def levels_of(model: Any, rounding: Rounding) -> dict[str, int]:
    """How many int8 numbers the exporter will write each weight in that trained with rounding, by layer."""
    return {name: grid.levels(weight.numpy()) for name, weight, grid in _shipped(model, rounding)}


def _shipped(model: Any, rounding: Rounding) -> Iterator[tuple[str, Any, Grid]]:
    for layer in map(unwrapped, model.layers):
        parts = {f"{layer.name}/{part.name}": part for part in rounding.projections(layer).values()}
        for name, part in (parts or {layer.name: layer}).items():
            rule = rounding.weight_rule(layer) if part is layer else weight_rule(part)
            if layer.name in rounding.places.rounded:
                yield name, layer.kernel, PER_CHANNEL
            elif rule is not None:
                yield name, getattr(part, rule.attribute), rule.grid


def in_eight_bits(layers: Sequence[Any], rounding: Rounding) -> dict[str, str]:
    """Names of the layers that train in 8 bits where fewer were asked for, each with the reason."""
    if rounding.bits == INT8:
        return {}
    because = f"it trains in 8 bits, not {rounding.bits}: "
    rules = {layer.name: rounding.weight_rule(layer) for layer in layers}
    slopes = [name for name, rule in rules.items() if rule is not None and isinstance(rule.quantizer, Grid)]
    return {
        **dict.fromkeys(rounding.shared, f"{because}its weights share few values, which stay free to move"),
        **dict.fromkeys(slopes, f"{because}slopes are as few as channels, and no kernel whose steps could be learned"),
    }
