"""What removed units gave on average goes into the biases of the layers that read them."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras
from tfshop.compression.moments import input_moments
from tfshop.compression.units.following import Kept, entries_of
from tfshop.compression.units.trace import Trace
from tfshop.data.split import Split

COMPENSATION_ROWS = 4096


def compensate(trace: Trace, kept: Kept, smaller: Any, split: Split, *, seed: int) -> list[str]:
    r"""Add `E[x_{removed}] W_{removed}` to the bias of every Dense layer that reads fewer units, in place.

    A unit that gives the same for every row is then removed without any change.

    Args:
        trace: Of the network before.
        kept: What stays.
        smaller: The network after, whose biases are changed.
        split: A sample of it is run, usually the training split.
        seed: Of the sample.

    Returns:
        Names of the layers.

    References:
        He et al., Channel Pruning for Accelerating Very Deep Neural Networks, ICCV 2017, reconstruct likewise.
    """
    names = [layer.name for layer in smaller.layers if _reads_less(trace, kept, layer)]
    moments = input_moments(trace.model, names, split, rows=COMPENSATION_ROWS, seed=seed)
    for name in names:
        read, units = entries_of(trace.weights_of(name)[0])
        gone = [position for position, entry in enumerate(read) if kept.goes(entry)]
        kernel = trace.model.get_layer(name).get_weights()[0]
        change = moments[name].mean[gone] @ kernel[gone][:, kept.indices(units)]
        layer = smaller.get_layer(name)
        layer.bias.assign(layer.bias.numpy() + change.astype(kernel.dtype))
    return names


def _reads_less(trace: Trace, kept: Kept, layer: Any) -> bool:
    if type(layer) is not keras.layers.Dense or not layer.use_bias or layer.name not in trace.layers:
        return False
    read, _ = entries_of(trace.weights_of(layer.name)[0])
    return kept.count(read) < len(read)
