"""What removed units gave on average goes into the biases of the layers that read them."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras
from tfshop.compression.moments import input_moments
from tfshop.compression.roles import calls_of, readers
from tfshop.compression.units.following import Kept, entries_of
from tfshop.compression.units.trace import Trace
from tfshop.data.split import Split

COMPENSATION_ROWS = 4096


def compensate(trace: Trace, kept: Kept, smaller: Any, split: Split, *, seed: int) -> list[str]:
    r"""Add `E[x_{removed}] W_{removed}` to the bias of every Dense layer that reads fewer units, in place.

    Where it has none, and a BatchNormalization reads it directly, the same is taken from its moving mean. A unit that
    gives the same for every row is then removed without any change. A Dense layer with neither is left as it is.

    Args:
        trace: Of the network before.
        kept: What stays.
        smaller: The network after, whose biases and moving means are changed.
        split: A sample of it is run, usually the training split.
        seed: Of the sample.

    Returns:
        Names of the layers.

    References:
        He et al., Channel Pruning for Accelerating Very Deep Neural Networks, ICCV 2017, reconstruct likewise.
    """
    less = [layer for layer in smaller.layers if _reads_less(trace, kept, layer)]
    names = [layer.name for layer in less if layer.use_bias or _is_normalized(layer, smaller)]
    moments = input_moments(trace.model, names, split, rows=COMPENSATION_ROWS, seed=seed)
    for name in names:
        read, units = entries_of(trace.weights_of(name)[0])
        gone = [position for position, entry in enumerate(read) if kept.goes(entry)]
        kernel = trace.model.get_layer(name).get_weights()[0]
        change = moments[name].mean[gone] @ kernel[gone][:, kept.indices(units)]
        layer = smaller.get_layer(name)
        if layer.use_bias:
            layer.bias.assign(layer.bias.numpy() + change.astype(kernel.dtype))
        else:
            (normalization,) = readers(layer, smaller)
            normalization.moving_mean.assign(normalization.moving_mean.numpy() - change.astype(kernel.dtype))
    return names


def _reads_less(trace: Trace, kept: Kept, layer: Any) -> bool:
    if type(layer) is not keras.layers.Dense or layer.name not in trace.layers:
        return False
    read, _ = entries_of(trace.weights_of(layer.name)[0])
    return kept.count(read) < len(read)


def _is_normalized(layer: Any, model: Any) -> bool:
    """Whether all that a linear layer gives goes through one BatchNormalization, which serves nothing else."""
    behind = readers(layer, model)
    if len(behind) != 1 or type(behind[0]) is not keras.layers.BatchNormalization:
        return False
    once = all(len(calls_of(one, model)) == 1 for one in (layer, behind[0]))
    return once and layer.activation is keras.activations.linear
