"""What removed units gave on average goes into the biases of the layers that read them."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from tfshop._keras import keras
from tfshop.compression.moments import input_moments
from tfshop.compression.roles import calls_of, readers
from tfshop.compression.units.following import Kept, entries_of
from tfshop.compression.units.trace import Trace
from tfshop.data.split import Split

COMPENSATION_ROWS = 4096


def compensate(trace: Trace, kept: Kept, smaller: Any, split: Split, *, seed: int) -> list[str]:
    r"""Add `E[x_{removed}] W_{removed}` to the bias of every Dense layer that reads fewer units, in place.

    Where a Dense layer has no bias and a BatchNormalization alone reads it, the moving mean is lowered by as much. A
    unit that gives the same for every row is then removed without any change.

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
    return names


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
