"""What removed units gave on average goes into the biases of the layers that read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras
from tfshop.compression.moments import input_moments, tensor_means
from tfshop.compression.roles import calls_of, output_tensors, readers
from tfshop.compression.units.following import Kept, entries_of
from tfshop.compression.units.trace import Trace
from tfshop.data.split import Split

COMPENSATION_ROWS = 4096


def compensate(trace: Trace, kept: Kept, smaller: Any, split: Split, *, seed: int) -> list[str]:
    r"""Add `E[x_{removed}] W_{removed}` to the bias of every Dense layer that reads fewer units, in place.

    Where a Dense layer has no bias and a BatchNormalization alone reads it, the moving mean is lowered by as much. A
    unit that gives the same for every row is then removed without any change, and so is a term of a sum, where another
    term comes from a Dense layer that can take what it gave.

    Args:
        trace: Of the network before.
        kept: What stays.
        smaller: The network after, whose biases and moving means are changed.
        split: A sample of it is run, usually the training split.
        seed: Of the sample.

    Returns:
        Names of the Dense layers.

    References:
        He et al., Channel Pruning for Accelerating Very Deep Neural Networks, ICCV 2017, reconstruct likewise.
    """
    names = [layer.name for layer in smaller.layers if _reads_less(trace, kept, layer) and _can_shift(layer, smaller)]
    moments = input_moments(trace.model, names, split, rows=COMPENSATION_ROWS, seed=seed)
    for name in names:
        read, units = entries_of(trace.weights_of(name)[0])
        gone = [position for position, entry in enumerate(read) if kept.goes(entry)]
        kernel = trace.model.get_layer(name).get_weights()[0]
        change = moments[name].mean[gone] @ kernel[gone][:, kept.indices(units)]
        _shift(smaller.get_layer(name), smaller, change.astype(kernel.dtype))
    return list(dict.fromkeys([*names, *_compensate_sums(trace, kept, smaller, split, seed)]))


def lacking_bias(trace: Trace, kept: Kept) -> tuple[str, ...]:
    """Names of Dense layers that need a bias, or what they no longer read would be lost with its mean."""
    lacking = [
        layer.name
        for layer in trace.model.layers
        if _reads_less(trace, kept, layer)
        and not _can_shift(layer, trace.model)
        and not all(kept.is_dead(trace.tensors[id(tensor)]) for tensor in output_tensors(layer, trace.model))
    ]
    takers = [taker.name for _, taker in _sums(trace, kept) if not _can_shift(taker, trace.model)]
    return tuple(dict.fromkeys([*lacking, *takers]))


def _compensate_sums(trace: Trace, kept: Kept, smaller: Any, split: Split, seed: int) -> list[str]:
    """Give another term of a sum what terms that are gone gave on average."""
    left = {layer.name for layer in smaller.layers}
    sums = [(gone, taker) for gone, taker in _sums(trace, kept) if taker.name in left]
    sums = [(gone, taker) for gone, taker in sums if _can_shift(smaller.get_layer(taker.name), smaller)]
    given = tensor_means(trace.model, [t for gone, _ in sums for t in gone], split, rows=COMPENSATION_ROWS, seed=seed)
    for gone, taker in sums:
        staying = kept.indices(trace.tensors[id(taker.output)][-1])
        change = np.sum([given[id(tensor)] for tensor in gone], axis=0)[staying]
        _shift(smaller.get_layer(taker.name), smaller, change.astype(taker.kernel.dtype.as_numpy_dtype))
    return [taker.name for _, taker in sums]


def _sums(trace: Trace, kept: Kept) -> list[tuple[list[Any], Any]]:
    """The terms of each sum that go, and a linear Dense layer beside them that nothing else reads."""
    found = []
    for layer in trace.model.layers:
        for node in calls_of(layer, trace.model) if type(layer) is keras.layers.Add else ():
            gone = [tensor for tensor in node.keras_inputs if kept.is_dead(trace.tensors[id(tensor)])]
            takers = [
                t
                for t in node.keras_inputs
                if all(t is not other for other in gone) and _can_take(t, gone, trace.model)
            ]
            if gone and takers:
                found.append((gone, takers[0]._keras_history.layer))
    return found


def _can_take(tensor: Any, gone: Sequence[Any], model: Any) -> bool:
    layer = tensor._keras_history.layer
    alone = type(layer) is keras.layers.Dense and len(calls_of(layer, model)) == len(readers(layer, model)) == 1
    return (
        alone
        and layer.activation is keras.activations.linear
        and {tuple(t.shape) for t in gone} == {(None, layer.units)}
    )


def _can_shift(layer: Any, model: Any) -> bool:
    return bool(layer.use_bias) or _normalization(layer, model) is not None


def _shift(layer: Any, model: Any, change: NDArray[Any]) -> None:
    if layer.use_bias:
        layer.bias.assign(layer.bias.numpy() + change)
    else:
        normalization = _normalization(layer, model)
        normalization.moving_mean.assign(normalization.moving_mean.numpy() - change)


def _normalization(layer: Any, model: Any) -> Any:
    """The BatchNormalization that alone reads a linear Dense layer, None where there is none."""
    behind = readers(layer, model)
    if len(behind) != 1 or layer.activation is not keras.activations.linear or len(calls_of(layer, model)) != 1:
        return None
    (reader,) = behind
    if type(reader) is not keras.layers.BatchNormalization or len(calls_of(reader, model)) != 1:
        return None
    return reader if list(reader.axis) == [len(layer.output.shape) - 1] else None


def _reads_less(trace: Trace, kept: Kept, layer: Any) -> bool:
    if type(layer) is not keras.layers.Dense or not trace.weights_of(layer.name):
        return False
    read, _ = entries_of(trace.weights_of(layer.name)[0])
    return kept.count(read) < len(read)
