"""Quantization-aware training, with TF-MOT's wrappers and explicit rules for what a click network has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tfshop._keras import keras, tf
from tfshop.compression._quantize_rules import DenseRule, OutputRule
from tfshop.compression._range_places import RangePlaces, range_name, range_places
from tfshop.compression._tfmot import QuantizeWrapperV2
from tfshop.compression.candidate import Candidate, curve_of
from tfshop.compression.left_alone import left_alone
from tfshop.compression.masked import zeros_held
from tfshop.compression.rebuild import KeepZeros, copy_model, zero_masks
from tfshop.compression.roles import (
    layers_with,
    output_tensors,
    require_roles,
    source_tensors,
    unwrapped,
)
from tfshop.data.schema import Schema
from tfshop.data.split import Splits
from tfshop.errors import PlanError
from tfshop.layers import OutputRange
from tfshop.models.rebuild import copy_weights, fresh, inlined, weights_by_name
from tfshop.training import FitSettings, fit
from tfshop.training.adoption import require_copyable
from tfshop.training.inputs import model_specs

RANGE_ROWS = 8192


@dataclass(frozen=True)
class QAT:
    """Train with the rounding that int8 will do, then freeze the ranges for the exporter.

    TF-MOT has a rule for Dense layers only, with one scale for all output channels; here each channel has its own,
    as the exporter writes them. Embedding, FactorizationMachine, MaskedMean and numeric layers are left in float
    while training: int ids never meet a fake-quant. The head stays in float in the file too. Zeros stay zeros.

    Args:
        roles: Which layers train with rounding: "dense", "cross".
        epochs: Epochs of training.
        learning_rate: Small: the weights are nearly right already.

    Raises:
        PlanError: In `check` for a role without a rule, or that no layer has.

    Example:
        >>> QAT(epochs=1).roles
        ('dense', 'cross')

    References:
        Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
        Inference, CVPR 2018.
    """

    name: ClassVar[str] = "QAT"
    makes: ClassVar[tuple[str, ...]] = ("ranges",)
    preserves: ClassVar[tuple[str, ...]] = ("sparsity", "factors")

    roles: tuple[str, ...] = ("dense", "cross")
    epochs: int = 1
    learning_rate: float = 1e-4

    def __post_init__(self) -> None:
        object.__setattr__(self, "roles", tuple(self.roles))
        FitSettings(epochs=self.epochs, learning_rate=self.learning_rate)

    def check(self, model: Any, schema: Schema) -> None:
        """Refuse roles that TF-MOT cannot be given a rule for, and models that have none of them."""
        require_copyable(model, schema)
        model = inlined(model)
        require_roles(model, self.roles, wanted_by="QAT", allowed=("dense", "cross"))
        require_plain_ids(model, layers_with(model, self.roles))

    def apply(self, candidate: Candidate, data: Splits, seed: int) -> Candidate:
        """Wrap, train, freeze the ranges."""
        model = inlined(candidate.model)
        places = range_places(model, layers_with(model, self.roles))
        masks = zero_masks(model, places.rounded)
        wrapped = _wrap(model, places, masks, data)
        settings = FitSettings(
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            seed=seed,
            patience=None,
            description="quantization-aware training",
        )
        with zeros_held(wrapped, but=[w.name for w in wrapped.layers if isinstance(w, QuantizeWrapperV2)]):
            history = fit(wrapped, data, settings)
        frozen = _freeze(model, wrapped, places)
        notes = {
            "layers": list(places.rounded),
            "left_alone": left_alone(model, places.rounded, by=self.name, reason=self._reason),
            "fit": history.to_dict(),
            "zeros_kept_in": sorted(masks),
        }
        return candidate.advance(self, frozen, unquantized=model, notes=notes, curve=curve_of(history))

    def _reason(self, layer: Any, role: str) -> str:
        if role == "table":
            return "ids never meet a fake-quant; the exporter quantizes tables by itself"
        if role == "head":
            return "the head stays in float, in the file too: a probability of 256 levels ties candidates"
        if role == "other":
            return f"there is no rule for {type(layer).__name__}; it trains in float, the exporter treats it as usual"
        return f"its role is {role!r}; QAT was asked for {', '.join(self.roles)}"


def _wrap(model: Any, places: RangePlaces, masks: Mapping[str, np.ndarray], data: Splits) -> Any:
    """TF-MOT's wrappers around the rounded layers and around whatever feeds them, with ranges seen on real rows."""

    def replace(layer: Any) -> Any:
        copied = fresh(layer)
        if layer.name in places.rounded:
            if layer.name in masks:
                copied.kernel_constraint = KeepZeros(masks[layer.name])
            rule = DenseRule(with_output=layer.name in places.within)
            return QuantizeWrapperV2(copied, rule, name=layer.name)
        if layer.name in places.within:
            return QuantizeWrapperV2(copied, OutputRule(), name=layer.name)
        if layer.name in places.behind:
            identity = _identity(layer.name)
            return copied, QuantizeWrapperV2(identity, OutputRule(), name=identity.name)
        return copied

    wrapped = copy_model(model, replace)
    for name, (low, high) in _observed_ranges(model, tuple(places.holders), data).items():
        # TF-MOT starts at +-6 and follows at 0.1% a step: a short training would never leave that
        ranges = wrapped.get_layer(places.holders[name])._output_quantizer_vars
        ranges["min_var"].assign(low)
        ranges["max_var"].assign(high)
    return wrapped


def _identity(name: str) -> Any:
    return keras.layers.Activation("linear", name=range_name(name))


def _observed_ranges(model: Any, names: tuple[str, ...], data: Splits) -> dict[str, tuple[float, float]]:
    """Lowest and highest output of each layer, averaged over the batches of a sample of training rows."""
    probe = keras.Model(model.inputs, {name: output_tensors(model.get_layer(name), model) for name in names})
    sample = data.train.take(RANGE_ROWS, seed=0).with_batch_size(RANGE_ROWS // 8)
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for inputs, _ in sample.batches(inputs=model_specs(model)):
        for name, outputs in probe(inputs, training=False).items():
            lows, highs = [tf.reduce_min(o) for o in outputs], [tf.reduce_max(o) for o in outputs]
            seen[name].append((float(min(lows)), float(max(highs))))
    means = {name: np.mean(rows, axis=0) for name, rows in seen.items()}
    return {name: (min(float(low), 0.0), max(float(high), 1e-6)) for name, (low, high) in means.items()}


def _freeze(model: Any, wrapped: Any, places: RangePlaces) -> Any:
    """The plain model with the trained weights on their int8 grid and the trained ranges as constants."""

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
        else:
            copy_weights(trained, bare)
    return frozen


def _trained_weights(wrapper: Any) -> list[np.ndarray]:
    """Kernel on its int8 grid, then the bias if there is one."""
    variables = weights_by_name(wrapper)
    kernel = on_int8_grid(variables["kernel"].numpy())
    return [kernel, variables["bias"].numpy()] if wrapper.layer.use_bias else [kernel]


def on_int8_grid(kernel: np.ndarray) -> np.ndarray:
    """Round a kernel (inputs, channels) to -127 … 127 times a scale for each channel."""
    scale = np.abs(kernel).max(axis=0, keepdims=True) / 127.0
    scale = np.where(scale > 0, scale, 1.0)
    return (np.round(kernel / scale) * scale).astype(np.float32)


def require_plain_ids(model: Any, names: tuple[str, ...]) -> None:
    """Raise `PlanError` where one of the layers that would get a fake-quant reads or gives integer ids."""
    for name in names:
        layer = model.get_layer(name)
        tensors = [*source_tensors(layer, model), *output_tensors(layer, model)]
        if any(tf.as_dtype(tensor.dtype).is_integer for tensor in tensors):
            raise PlanError(
                f"QAT would put a fake-quant on {name!r}, which reads or gives integer ids. Expected ids to "
                "reach their table as they are. Fix: leave that layer's role out of QAT(roles=…)."
            )
