"""Ranges of outputs, seen on real rows before training begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfshop._keras import keras, tf
from tfshop.compression.roles import output_tensors
from tfshop.data.split import Splits
from tfshop.training.inputs import model_specs

RANGE_ROWS = 8192
BATCHES = 8
WHOLE = 100.0  # percent


def observed_ranges(
    model: Any, names: Sequence[str], data: Splits, *, percentile: float = WHOLE
) -> dict[str, tuple[float, float]]:
    """Range of each layer's outputs, averaged over the batches of a sample of training rows; zero is inside.

    Args:
        model: Flat functional model.
        names: Layers that give one float tensor a call.
        data: Splits; the training split is sampled.
        percentile: Share of the numbers, in percent, that the range leaves below its upper end and above its lower
            one; 100 for the lowest and the highest.
    """
    probe = keras.Model(model.inputs, {name: output_tensors(model.get_layer(name), model) for name in names})
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    sample = data.train.take(RANGE_ROWS, seed=0).with_batch_size(RANGE_ROWS // BATCHES)
    for inputs, _ in sample.batches(inputs=model_specs(model)):
        for name, outputs in probe(inputs, training=False).items():
            values = np.concatenate([np.ravel(output) for output in tf.nest.flatten(outputs)])
            seen[name].append(_ends(values, percentile))
    means = {name: np.mean(rows, axis=0) for name, rows in seen.items()}
    return {name: (min(float(low), 0.0), max(float(high), 1e-6)) for name, (low, high) in means.items()}


def _ends(values: np.ndarray, percentile: float) -> tuple[float, float]:
    if percentile >= WHOLE:
        return float(values.min()), float(values.max())
    low, high = np.percentile(values, [WHOLE - percentile, percentile])
    return float(low), float(high)
