"""Quantization-aware training, with TF-MOT's wrappers and explicit rules for what a click network has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tfshop._keras import keras, tf
from tfshop.compression._float_zones import AROUND_FEW, rounded_layers
from tfshop.compression._opened import opened
from tfshop.compression._operators import OperatorsByLayer
from tfshop.compression._quantizers import shared_values
from tfshop.compression._range_calibration import WHOLE, observed_ranges
from tfshop.compression._range_places import RangePlaces, range_places
from tfshop.compression._rounded_model import (
    Rounding,
    activations_apart,
    frozen_model,
    in_eight_bits,
    levels_of,
    rounded_model,
)
from tfshop.compression._weight_rules import INT8
from tfshop.compression.candidate import OF_THE_NETWORK, WEIGHTS_ALIKE, Candidate, curve_of
from tfshop.compression.left_alone import left_alone
from tfshop.compression.rebuild import zero_masks
from tfshop.compression.roles import (
    has_learned_activation,
    layers_with,
    output_tensors,
    require_roles,
    source_tensors,
    unwrapped,
)
from tfshop.compression.teaching import fine_tuned, require_learners
from tfshop.data.schema import Schema
from tfshop.data.split import Splits
from tfshop.errors import PlanError
from tfshop.layers import OutputRange
from tfshop.models.rebuild import inlined
from tfshop.training import FitSettings, History
from tfshop.training.adoption import require_copyable

BITS = (8, 4, 2)
MEDIAN = 50.0  # percent: a range below it would leave out half of the numbers at each end


@dataclass(frozen=True)
class QAT:
    """Train with the rounding that int8 will do, then freeze the ranges for the exporter.

    TF-MOT has a rule for Dense layers only, with one scale for all output channels; here each channel has its own,
    as the exporter writes them, and every tensor that is int8 in the file has a range: what products, sums, crosses,
    factorization machines, gates and normalizations give. Layers of several operators are laid open for that, so that
    the trained model is one for the exporter; inside a lone BatchNormalization they are measured. Tables and whatever
    stays in float in the file (the head, raw numbers, masks, the inside of normalizations) train in float. Int ids
    never meet a fake-quant. Zeros stay zeros, and weights that share few values go on to share as many. A layer that is
    frozen (`trainable=False`) is rounded as it is: neither its weights nor its learned steps move.

    Args:
        roles: Which Dense layers train with rounding: "dense", "cross". Kernels of EinsumDense, of experts and inside
            MultiHeadAttention, and the slopes of PReLU, do so as well, as far as they are int8 in the file.
        epochs: Epochs of training.
        learning_rate: Small: the weights are nearly right already.
        bits: Of the kernels: 8, or 4 or 2 with learned steps, one wherever the file has a scale: for each channel, or
            for a whole batch of matrices, as of experts. In the file they are int8 numbers of which only 15 or 3 are
            used: the download shrinks, the file and its latency do not. Slopes, and kernels of shared values, have 8
            all the same, and the notes say so.
        percentile: Of the outputs, in percent, that a range leaves inside at each end, in (50, 100]. At 100 ranges
            begin with the lowest and highest output and follow the batches; below that they stay.
        freeze_batch_norm_after: Share of the steps after which every BatchNormalization keeps its statistics, in
            [0, 1]: the file has those and no others.
        distill: Whether the scores of the model that comes in are the target, beside the labels: one that overfits
            is made worse by an epoch more on labels alone.

    Raises:
        PlanError: At construction for a value out of range; in `check` for a role without a rule, or that no layer
            has.

    Example:
        >>> QAT(epochs=1).roles
        ('dense', 'cross')

    References:
        Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
        Inference, CVPR 2018. Esser et al., Learned Step Size Quantization, ICLR 2020.
    """

    name: ClassVar[str] = "QAT"
    makes: ClassVar[tuple[str, ...]] = ("ranges",)
    preserves: ClassVar[tuple[str, ...]] = (*WEIGHTS_ALIKE, "clusters", "rows", "factors", *OF_THE_NETWORK)

    roles: tuple[str, ...] = ("dense", "cross")
    epochs: int = 1
    learning_rate: float = 3e-4
    bits: int = 8
    percentile: float = WHOLE
    freeze_batch_norm_after: float = 0.5
    distill: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "roles", tuple(self.roles))
        FitSettings(epochs=self.epochs, learning_rate=self.learning_rate)
        if self.bits not in BITS:
            raise PlanError(f"bits is {self.bits!r}. Expected one of {', '.join(map(str, BITS))}. Fix: bits=8.")
        if not MEDIAN < self.percentile <= WHOLE:
            raise PlanError(
                f"percentile is {self.percentile!r}. Expected above {MEDIAN:g}, at most {WHOLE:g}. "
                "Fix: percentile=99.99."
            )
        if not 0 <= self.freeze_batch_norm_after <= 1:
            raise PlanError(
                f"freeze_batch_norm_after is {self.freeze_batch_norm_after!r}. Expected a share of the steps in "
                "[0, 1]. Fix: freeze_batch_norm_after=0.5."
            )

    def check(self, model: Any, schema: Schema) -> None:
        """Refuse roles that TF-MOT cannot be given a rule for, and models that have none of them."""
        require_copyable(model, schema)
        model = inlined(model)
        require_roles(model, self.roles, wanted_by="QAT", allowed=("dense", "cross"))
        require_plain_ids(model, layers_with(model, self.roles))
        require_learners(model, self.epochs, by=self.name)

    def apply(self, candidate: Candidate, data: Splits, seed: int) -> Candidate:
        """Wrap, train, freeze the ranges."""
        model = inlined(candidate.model)
        operators = OperatorsByLayer(model)
        names = rounded_layers(model, self.roles, operators)
        apart = activations_apart(opened(model, names, operators), names)
        places = range_places(apart, names, operators if apart is model else None)
        rounding = self._rounding(apart, places, candidate, data)
        wrapped = rounded_model(apart, rounding)
        told = "quantization-aware training"
        history = fine_tuned(wrapped, candidate.model, data, self, seed=seed, description=told)
        frozen = frozen_model(apart, wrapped, rounding.places)
        notes = self._notes(model, frozen, rounding, history)
        return candidate.advance(self, frozen, unquantized=model, notes=notes, curve=curve_of(history))

    def _rounding(self, model: Any, places: RangePlaces, candidate: Candidate, data: Splits) -> Rounding:
        kernels = {name: unwrapped(model.get_layer(name)).kernel.numpy() for name in places.rounded}
        numbers = {name: shared_values(kernel) for name, kernel in kernels.items()}
        return Rounding(
            places=places,
            ranges=observed_ranges(model, tuple(places.holders), data, percentile=self.percentile),
            follows=self.percentile >= WHOLE,
            bits=self.bits,
            masks=zero_masks(model, places.rounded),
            shared={name: number for name, number in numbers.items() if number is not None},
            held=_made_before(model, candidate) - set(places.rounded),
            moving_steps=int(self.freeze_batch_norm_after * self.epochs * data.train.num_batches),
        )

    def _notes(self, model: Any, frozen: Any, rounding: Rounding, history: History) -> dict[str, Any]:
        places = rounding.places
        ranged = {x.name: [x.minimum, x.maximum] for x in frozen.layers if isinstance(x, OutputRange)}
        bare = [unwrapped(layer) for layer in frozen.layers]
        others = [x.name for x in bare if rounding.weight_rule(x) is not None or rounding.projections(x)]
        treated = (*places.rounded, *others)
        wide = in_eight_bits(bare, rounding)

        def reason(layer: Any, role: str) -> str:
            return wide.get(layer.name) or self._reason(layer, role, rounding)

        narrow = [name for name in treated if name not in wide]
        return {
            "layers": list(treated),
            "left_alone": left_alone(model, narrow, by=self.name, reason=reason),
            "fit": history.to_dict(),
            "zeros_kept_in": sorted(rounding.masks),
            "values_kept_in": {name: int(numbers.max()) + 1 for name, numbers in rounding.shared.items()},
            "ranges": ranged,
            "in_float": dict(places.in_float),
            "bits": {name: INT8 if name in wide else self.bits for name in treated},
            "levels": levels_of(frozen, rounding),
        }

    def _reason(self, layer: Any, role: str, rounding: Rounding) -> str:
        if layer.name in rounding.held:
            return "it holds still: an earlier pass gave it zeros or shared values, which training would undo"
        if role == "table":
            return "ids never meet a fake-quant; the exporter quantizes tables by itself"
        if role == "head":
            return "the head stays in float, in the file too: a probability of 256 levels ties candidates"
        if role == "other":
            return _reason_of_others(layer, rounding.places)
        if role in self.roles:
            return _reason_of_asked(layer, rounding.places)
        return f"its role is {role!r}; QAT was asked for {', '.join(self.roles)}"


def _reason_of_asked(layer: Any, places: RangePlaces) -> str:
    if has_learned_activation(layer):
        return "its activation has weights, for which there is no rule; its output trains with rounding"
    return f"{places.in_float.get(layer.name, AROUND_FEW)}; it stays in float, in the file too"


def _reason_of_others(layer: Any, places: RangePlaces) -> str:
    if layer.name in places.in_float:
        return f"{places.in_float[layer.name]}, in the file too"
    if isinstance(layer, keras.layers.BatchNormalization):
        return "its weights train in float; its output trains with rounding, as one with the kernel it is folded into"
    if layer.name in places.holders:
        return f"its output trains with rounding; there is no rule for the weights of {type(layer).__name__}"
    return f"there is no rule for {type(layer).__name__}; it trains in float, the exporter treats it as usual"


def _made_before(model: Any, candidate: Candidate) -> set[str]:
    """Layers to which an earlier pass gave zeros or shared values."""
    named = {name for record in candidate.history for name in record.notes.get("layers", ())}
    present = [layer for layer in model.layers if layer.name in named and layer.weights]
    return {layer.name for layer in present if _has_pattern(unwrapped(layer).get_weights()[0])}


def _has_pattern(weights: np.ndarray) -> bool:
    return bool((weights == 0).any()) or shared_values(weights) is not None


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
