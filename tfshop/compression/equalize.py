"""Equalization: columns that share one int8 range are brought to one size, without a change of the function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras, tf
from tfshop.compression._scale_bounds import bounds_of
from tfshop.compression._scale_paths import HOMOGENEOUS, UNSCALED, Path, scale_path
from tfshop.compression.candidate import OF_THE_NETWORK, WEIGHTS_ALIKE, Candidate
from tfshop.compression.left_alone import has_matrix, left_alone
from tfshop.compression.roles import calls_of, output_tensors, readers, source_layers, source_tensors
from tfshop.compression.unread import refuse_unread
from tfshop.data.schema import Schema
from tfshop.data.split import Split, Splits
from tfshop.errors import PlanError
from tfshop.layers import OutputRange
from tfshop.layers.channel_scale import ChannelScale
from tfshop.models.rebuild import fresh, inlined, rebuild
from tfshop.training.adoption import require_copyable
from tfshop.training.inputs import model_specs
from tfshop.training.tracing import for_batches

ROWS = 8192
BATCH = 1024
MOST = 1e4  # a scale further from one than this is no longer the same function in float32
WORTH_A_MULTIPLY = 1.5
BY = ("activations", "weights")
UNFUSED = (keras.layers.LeakyReLU, keras.layers.PReLU)
Sizes = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Equalize:
    r"""Scale what int8 gives one range to: the columns of a layer's output, and numbers joined to tables.

    A ReLU layer followed by a Dense layer computes the same when its columns are divided by s and the rows of the next
    kernel multiplied by s; so does a stack of crosses. A tensor of int8 has one scale for all columns, a kernel of
    Dense one for each output: s is the geometric middle that makes both losses alike, s_j = sqrt(a_j / r_j) with a_j
    the largest activation of column j and r_j the largest share its row has of any output's range. Raw numbers that
    are joined to tables get a constant multiple before they are. Nothing is trained, and zeros stay zeros. Where a
    weight has a constraint other than non_neg, its layer and those that share its scale stay as they are.

    Args:
        layers: Whether pairs of layers are equalized.
        inputs: Whether numbers that are joined to tables are.
        by: "activations": as above. "weights": s_j from the two kernels alone, as Nagel et al. have it for weights of
            one scale a layer; what stands before a normalization, a sum or a PReLU, and numbers at the input, are
            measured all the same.

    Raises:
        PlanError: At construction for an unknown `by` or nothing to do; in `check` where nothing can be scaled.

    Example:
        >>> Equalize().by
        'activations'

    References:
        Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019. Xiao et al.,
        SmoothQuant, ICML 2023 (activations against rows).
    """

    name: ClassVar[str] = "Equalize"
    makes: ClassVar[tuple[str, ...]] = ("scales",)
    preserves: ClassVar[tuple[str, ...]] = (*WEIGHTS_ALIKE, "rows", "factors", *OF_THE_NETWORK)

    layers: bool = True
    inputs: bool = True
    by: str = "activations"

    def __post_init__(self) -> None:
        if self.by not in BY:
            raise PlanError(f"by is {self.by!r}. Expected one of {', '.join(BY)}. Fix: by='activations'.")
        if not self.layers and not self.inputs:
            raise PlanError("Equalize was told to leave both layers and inputs alone. Expected one. Fix: Equalize().")
        if not self.layers:
            refuse_unread(self, ("by",), "numbers at the input are always measured", fix="layers=True")

    def check(self, model: Any, schema: Schema) -> None:
        """Refuse a model in which nothing can be scaled."""
        require_copyable(model, schema)
        paths, bounds = self._paths(inlined(model))
        if not paths:
            why = "".join(f"; {name!r}: {reason}" for name, reason in list(bounds.items())[:1])
            raise PlanError(
                f"Equalize finds nothing to scale in {model.name!r}{why}. Expected a Dense layer with a linear or ReLU "
                "activation before another, or numbers that reach a Dense layer. Fix: leave Equalize out."
            )

    def apply(self, candidate: Candidate, data: Splits, seed: int) -> Candidate:
        """Measure what every Dense layer reads, then scale one tensor after the other."""
        model = inlined(candidate.model)
        paths, bounds = self._paths(model)
        seen = {path.source.name: _unfused(path.source, model) for path in paths}
        tensors = {
            **{name: source_tensors(model.get_layer(name), model)[0] for path in paths for name in path.absorbers},
            **{f"{layer.name}/output": output_tensors(layer, model)[0] for layers in seen.values() for layer in layers},
        }
        read = largest_values(model, tensors, data.train, seed)
        weights = {layer.name: layer.get_weights() for layer in model.layers}
        multiples: dict[str, NDArray[np.float64]] = {}
        rows = []
        for path in paths:
            before_activation = [read[f"{layer.name}/output"] for layer in seen[path.source.name]]
            scale = self._scale(path, weights, read, before_activation)
            if _is_number(path.source, model):
                if max(scale.max(), 1 / scale.min()) < WORTH_A_MULTIPLY:
                    continue
                multiples[path.source.name] = 1 / scale
            else:
                for layer in _dividers(path.source, model):
                    _divide(weights[layer.name], layer, scale)
            for name, columns in path.absorbers.items():
                rows_scale = np.where(columns == UNSCALED, 1.0, scale[columns])
                weights[name][0] = weights[name][0] * rows_scale[:, None]
                read[name] = read[name] / rows_scale
            rows.append(_told(path, scale, [] if path.source.name in multiples else _dividers(path.source, model)))
        equalized = _rebuilt(model, weights, multiples)
        treated = {name for row in rows for name in (row["layer"], *row["divided"], *row["taken_by"])}
        notes = {
            "equalized": rows,
            "left_alone": left_alone(
                model,
                treated,
                by=self.name,
                reason=lambda layer, role: bounds.get(layer.name) or self._reason(layer, role),
            ),
        }
        return candidate.advance(self, equalized, notes=notes)

    def _paths(self, model: Any) -> tuple[list[Path], dict[str, str]]:
        """Tensors that can be scaled, in the order of the graph; layers that constraints keep from it, to why."""
        sources = [
            layer
            for layer in model.layers
            if (self.layers and _dividers(layer, model)) or (self.inputs and _is_number(layer, model))
        ]
        paths: list[Path] = []
        bounds: dict[str, str] = {}
        for path in (scale_path(model, source) for source in sources):
            if path is not None:
                divided = [] if _is_number(path.source, model) else _dividers(path.source, model)
                found = bounds_of(path, divided, model)
                bounds.update(found)
                paths += [] if found else [path]
        return paths, bounds

    def _scale(
        self, path: Path, weights: dict[str, Any], read: Sizes, before_activation: list[NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        """The divisor of each column of the source."""
        sizes, shares = np.zeros(path.width), np.zeros(path.width)
        beside_size, beside_share = 0.0, 0.0
        for name, columns in path.absorbers.items():
            share = _row_shares(weights[name][0])
            carried = columns != UNSCALED
            np.maximum.at(sizes, columns[carried], read[name][carried])
            np.maximum.at(shares, columns[carried], share[carried])
            beside_size = max(beside_size, float(read[name][~carried].max(initial=0.0)))
            beside_share = max(beside_share, float(share[~carried].max(initial=0.0)))
        if self.by == "weights" and type(path.source) is keras.layers.Dense:
            sizes = np.abs(weights[path.source.name][0]).max(axis=0)
        alive = (sizes > 0) & (shares > 0)
        # Beside columns that keep their size, theirs is the measure; alone, only the ratios among the columns count.
        largest_size = beside_size or float(sizes.max(initial=0.0)) or 1.0
        largest_share = beside_share or float(shares.max(initial=0.0)) or 1.0
        relative = np.max([sizes / largest_size, *(one / (one.max() or 1.0) for one in before_activation)], axis=0)
        found = np.sqrt(relative / np.where(alive, shares / largest_share, 1.0))
        return np.where(alive, np.clip(found, 1 / MOST, MOST), 1.0)

    def _reason(self, layer: Any, role: str) -> str:
        if not has_matrix(layer):
            return "it has no columns that another layer could take the scale of"
        if role == "table":
            return "a table keeps its size: what is joined to it is brought to it"
        return "what it gives goes where a scale would change the scores, or is a score itself"


def largest_values(model: Any, tensors: dict[str, Any], split: Split, seed: int) -> Sizes:
    """Largest absolute value of each column of tensors, on a sample of rows: name -> (columns,)."""
    probe = keras.Model(model.inputs, tensors)

    def largest(inputs: Any) -> dict[str, Any]:
        seen = probe(inputs, training=False)
        return {name: tf.reduce_max(tf.abs(v), axis=tuple(range(len(v.shape) - 1))) for name, v in seen.items()}

    found: Sizes = {}
    sample = split.take(min(ROWS, split.num_rows), seed=seed).with_batch_size(BATCH)
    measured = for_batches(largest, model, sample.num_batches)
    for inputs, _ in sample.batches(inputs=model_specs(model)):
        for name, sizes in measured(inputs).items():
            values = np.nan_to_num(sizes.numpy().astype(np.float64))
            found[name] = np.maximum(found[name], values) if name in found else values
    return found


def _row_shares(kernel: NDArray[Any]) -> NDArray[np.float64]:
    """Largest share that each row has of the range of any output."""
    sizes = np.abs(kernel).astype(np.float64)
    ranges = sizes.max(axis=0, keepdims=True)
    return np.asarray((sizes / np.where(ranges > 0, ranges, 1.0)).max(axis=1))


def _dividers(layer: Any, model: Any) -> list[Any]:
    """Layers whose weights, when divided, divide the columns of a layer's output: itself, or all terms of a sum."""
    if type(layer) is keras.layers.Add and len(calls_of(layer, model)) == 1:
        terms = list(dict.fromkeys(source_layers(layer, model)))  # one that is added to itself is divided once
        alone = all(len(readers(term, model)) == 1 and _can_be_divided(term, model) for term in terms)
        return terms if alone else []
    return [layer] if _can_be_divided(layer, model) else []


def _unfused(source: Any, model: Any) -> list[Any]:
    """Layers whose output has a range of its own before an activation: the terms of a sum, what a PReLU reads.

    A ReLU becomes one with the product before it; what it cuts off never exists in the file.
    """
    if type(source) is keras.layers.Add:
        return source_layers(source, model)
    return [source] if any(isinstance(reader, UNFUSED) for reader in readers(source, model)) else []


def _can_be_divided(layer: Any, model: Any) -> bool:
    if len(calls_of(layer, model)) != 1:
        return False
    if type(layer) is keras.layers.Dense:
        return layer.units > 1 and layer.activation in HOMOGENEOUS
    if type(layer) is not keras.layers.BatchNormalization or not layer.scale:
        return False
    return list(layer.axis) == [len(output_tensors(layer, model)[0].shape) - 1]  # its numbers are those of columns


def _divide(weights: list[Any], source: Any, scale: NDArray[np.float64]) -> None:
    """Kernel and bias of a Dense layer, gamma and beta of a BatchNormalization."""
    is_dense = type(source) is keras.layers.Dense
    count = 1 + (source.use_bias if is_dense else source.center)
    for position in range(count):
        weights[position] = weights[position] / scale


def _is_number(layer: Any, model: Any) -> bool:
    """Whether a layer gives raw numbers that something joins: floats that come from inputs through no weights."""
    calls = calls_of(layer, model)
    is_input = isinstance(layer, keras.layers.InputLayer)
    if layer.trainable_weights or isinstance(layer, (keras.layers.Concatenate, OutputRange)):
        return False
    tensors = [layer.output] if is_input else [t for node in calls for t in tf.nest.flatten(node.outputs)]
    if len(tensors) != 1 or not tensors[0].dtype.is_floating or len(tensors[0].shape) != 2:  # noqa: PLR2004
        return False
    if not any(type(reader) is keras.layers.Concatenate for reader in readers(layer, model)):
        return False
    return all(_is_plain_float(source) for source in _ancestors(layer, model))


def _ancestors(layer: Any, model: Any) -> list[Any]:
    """A layer and everything before it."""
    found, waiting = {}, [layer]
    while waiting:
        current = waiting.pop()
        if id(current) not in found:
            found[id(current)] = current
            waiting += [tensor._keras_history.layer for tensor in source_tensors(current, model)]
    return list(found.values())


def _is_plain_float(layer: Any) -> bool:
    if isinstance(layer, keras.layers.InputLayer):
        return bool(tf.as_dtype(layer.dtype).is_floating)
    return not layer.trainable_weights


def _rebuilt(model: Any, weights: dict[str, Any], multiples: dict[str, NDArray[np.float64]]) -> Any:
    """A copy with other weights, and constant multiples behind numbers."""
    scales = {name: ChannelScale(m.tolist(), name=f"{name}_equalized") for name, m in multiples.items()}

    def replace(layer: Any) -> Any:
        return (fresh(layer), scales[layer.name]) if layer.name in scales else fresh(layer)

    copied = rebuild(model, replace, behind_inputs=scales)
    for name, values in weights.items():
        if values:
            copied.get_layer(name).set_weights(values)
    return copied


def _told(path: Path, scale: NDArray[np.float64], divided: list[Any]) -> dict[str, Any]:
    return {
        "layer": path.source.name,
        "divided": sorted(layer.name for layer in divided),
        "taken_by": sorted(path.absorbers),
        "smallest": float(scale.min()),
        "largest": float(scale.max()),
    }
