"""Quantization-aware training, with TF-MOT's wrappers and explicit rules for what a click network has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tfshop._keras import keras, tf
from tfshop.compression._quantize_rules import DenseRule, OutputRule
from tfshop.compression._tfmot import QuantizeWrapperV2
from tfshop.compression.candidate import Candidate
from tfshop.compression.rebuild import KeepZeros, copy_model, fresh, weights_by_name, zero_masks
from tfshop.compression.roles import layers_with, require_roles, source_layers, unwrapped
from tfshop.data.schema import Schema
from tfshop.data.split import Splits
from tfshop.errors import PlanError
from tfshop.layers import OutputRange
from tfshop.training import FitSettings, fit
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
    preserves: ClassVar[tuple[str, ...]] = ("sparsity", "ranges")

    roles: tuple[str, ...] = ("dense", "cross")
    epochs: int = 1
    learning_rate: float = 1e-4

    def __post_init__(self) -> None:
        object.__setattr__(self, "roles", tuple(self.roles))
        FitSettings(epochs=self.epochs, learning_rate=self.learning_rate)

    def check(self, model: Any, schema: Schema) -> None:
        """Refuse roles that TF-MOT cannot be given a rule for, and models that have none of them."""
        require_roles(model, self.roles, wanted_by="QAT", allowed=("dense", "cross"))
        names = layers_with(model, self.roles)
        require_plain_ids(model, (*names, *_feeding_layers(model, names)))

    def apply(self, candidate: Candidate, data: Splits, seed: int) -> Candidate:
        """Wrap, train, freeze the ranges."""
        names = layers_with(candidate.model, self.roles)
        masks = zero_masks(candidate.model, names)
        wrapped = _wrap(candidate.model, names, masks, data)
        settings = FitSettings(
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            seed=seed,
            patience=None,
            description="quantization-aware training",
        )
        history = fit(wrapped, data, settings)
        frozen = _freeze(candidate.model, wrapped)
        notes = {"layers": list(names), "fit": history.to_dict(), "zeros_kept_in": sorted(masks)}
        curve = tuple(
            {"epoch": row.epoch, "loss": row.loss, "validation_auc": row.validation_auc} for row in history.epochs
        )
        return candidate.advance(self, frozen, unquantized=candidate.model, notes=notes, curve=curve)


def _wrap(model: Any, names: tuple[str, ...], masks: Mapping[str, np.ndarray], data: Splits) -> Any:
    """TF-MOT's wrappers around the named layers and around whatever feeds them, with ranges seen on real rows."""
    # The head reads what trained layers give: without a range of its own the converter would lend it theirs.
    feeding = _feeding_layers(model, (*names, *layers_with(model, ("head",))))

    def replace(layer: Any) -> Any:
        if layer.name in names:
            copied = fresh(layer)
            if layer.name in masks:
                copied.kernel_constraint = KeepZeros(masks[layer.name])
            return QuantizeWrapperV2(copied, DenseRule(), name=layer.name)
        if layer.name in feeding:
            return QuantizeWrapperV2(fresh(layer), OutputRule(), name=layer.name)
        return fresh(layer)

    wrapped = copy_model(model, replace)
    for name, (low, high) in _observed_ranges(model, (*names, *feeding), data).items():
        # TF-MOT starts at +-6 and follows at 0.1% a step: a short training would never leave that
        ranges = wrapped.get_layer(name)._output_quantizer_vars
        ranges["min_var"].assign(low)
        ranges["max_var"].assign(high)
    return wrapped


def _feeding_layers(model: Any, names: tuple[str, ...]) -> tuple[str, ...]:
    """Layers outside `names` whose output a layer in `names` reads."""
    sources = {source.name: source for name in names for source in source_layers(model.get_layer(name), model)}
    return tuple(
        name
        for name, source in sources.items()
        if name not in names and not isinstance(source, keras.layers.InputLayer)
    )


def _observed_ranges(model: Any, names: tuple[str, ...], data: Splits) -> dict[str, tuple[float, float]]:
    """Lowest and highest output of each layer, averaged over the batches of a sample of training rows."""
    probe = keras.Model(model.inputs, {name: model.get_layer(name).output for name in names})
    sample = data.train.take(RANGE_ROWS, seed=0).with_batch_size(RANGE_ROWS // 8)
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for inputs, _ in sample.batches(inputs=model_specs(model)):
        for name, output in probe(inputs, training=False).items():
            seen[name].append((float(tf.reduce_min(output)), float(tf.reduce_max(output))))
    means = {name: np.mean(rows, axis=0) for name, rows in seen.items()}
    return {name: (min(float(low), 0.0), max(float(high), 1e-6)) for name, (low, high) in means.items()}


def _freeze(model: Any, wrapped: Any) -> Any:
    """The plain model with the trained weights on their int8 grid and the trained ranges as constants."""

    def replace(layer: Any) -> Any:
        trained = wrapped.get_layer(layer.name)
        if not isinstance(trained, QuantizeWrapperV2):
            return fresh(layer)
        ranges = trained._output_quantizer_vars
        return OutputRange(fresh(layer), float(ranges["min_var"]), float(ranges["max_var"]))

    frozen = copy_model(model, replace)
    for layer in model.layers:
        trained = wrapped.get_layer(layer.name)
        if not layer.weights:
            continue
        if isinstance(trained, QuantizeWrapperV2):
            unwrapped(frozen.get_layer(layer.name)).set_weights(_trained_weights(trained))
        else:
            frozen.get_layer(layer.name).set_weights(trained.get_weights())
    return frozen


def _trained_weights(wrapper: Any) -> list[np.ndarray]:
    """Kernel on its int8 grid, then the bias if there is one; all weights of a layer that was not rounded itself."""
    if not wrapper._weight_vars:
        weights: list[np.ndarray] = wrapper.layer.get_weights()
        return weights
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
        if any(tf.as_dtype(tensor.dtype).is_integer for tensor in tf.nest.flatten([layer.input, layer.output])):
            raise PlanError(
                f"QAT would put a fake-quant on {name!r}, which reads or gives integer ids. Expected ids to "
                "reach their table as they are. Fix: leave that layer's role out of QAT(roles=…)."
            )
