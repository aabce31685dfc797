"""What layers read on real rows: the means and second moments that importance, whitening and bias correction need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras, tf
from tfshop.compression.roles import source_tensors
from tfshop.data.split import Split
from tfshop.training.inputs import model_specs
from tfshop.training.tracing import for_batches

MOMENT_ROWS = 8192
MOMENT_BATCH = 1024


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of what a layer reads, over rows and all axes but the last.

    Attributes:
        mean: float64 (inputs,).
        second: float64 (inputs, inputs), the mean of the outer products x x^T.
        count: How many vectors were seen.
    """

    mean: NDArray[np.float64]
    second: NDArray[np.float64]
    count: int

    @property
    def mean_square(self) -> NDArray[np.float64]:
        """Mean square of each input, (inputs,)."""
        return np.diagonal(self.second)


def input_moments(
    model: Any, names: Sequence[str], split: Split, *, rows: int = MOMENT_ROWS, seed: int = 0
) -> dict[str, Moments]:
    """Run a sample of rows once and gather the moments of what each named layer reads, in all of its calls.

    Args:
        model: Functional model without submodels.
        names: Layers that read one float tensor a call, such as Dense.
        split: Usually the training split, never the test split.
        rows: Most rows to run.
        seed: Of the sample.

    Returns:
        Layer name to its moments.
    """
    if not names:
        return {}
    read = {name: source_tensors(model.get_layer(name), model) for name in names}
    probe = keras.Model(model.inputs, read)
    totals: dict[str, list[Any]] = {}

    def gathered(inputs: Any) -> dict[str, tuple[Any, Any, Any]]:
        return {name: _sums(tf.nest.flatten(seen)) for name, seen in probe(inputs, training=False).items()}

    sample = split.take(min(rows, split.num_rows), seed=seed).with_batch_size(MOMENT_BATCH)
    sums = for_batches(gathered, model, sample.num_batches)
    for inputs, _ in sample.batches(inputs=model_specs(model)):
        for name, found in sums(inputs).items():
            values = [value.numpy().astype(np.float64) for value in found]
            totals[name] = [a + b for a, b in zip(totals[name], values, strict=True)] if name in totals else values
    return {
        name: Moments(mean=total / count, second=outer / count, count=int(count))
        for name, (total, outer, count) in totals.items()
    }


def tensor_means(
    model: Any, tensors: Sequence[Any], split: Split, *, rows: int = MOMENT_ROWS, seed: int = 0
) -> dict[int, NDArray[np.float64]]:
    """Means of tensors of a model over a sample of rows, by the tensor's identity: float64 (columns,).

    Args:
        model: Functional model without submodels.
        tensors: Of it, (batch, columns) each.
        split: Usually the training split, never the test split.
        rows: Most rows to run.
        seed: Of the sample.
    """
    if not tensors:
        return {}
    probe = keras.Model(model.inputs, list(tensors))

    def summed(inputs: Any) -> list[Any]:
        return [tf.reduce_sum(tensor, axis=0) for tensor in tf.nest.flatten(probe(inputs, training=False))]

    sample = split.take(min(rows, split.num_rows), seed=seed).with_batch_size(MOMENT_BATCH)
    sums = for_batches(summed, model, sample.num_batches)
    totals = [np.zeros(tensor.shape[-1]) for tensor in tensors]
    for inputs, _ in sample.batches(inputs=model_specs(model)):
        totals = [total + found.numpy() for total, found in zip(totals, sums(inputs), strict=True)]
    return {id(tensor): total / sample.num_rows for tensor, total in zip(tensors, totals, strict=True)}


def _sums(tensors: list[Any]) -> tuple[Any, Any, Any]:
    """Sum, sum of outer products and number of the vectors along the last axis."""
    vectors = tf.concat([tf.reshape(tensor, (-1, tensor.shape[-1])) for tensor in tensors], axis=0)
    return tf.reduce_sum(vectors, axis=0), tf.matmul(vectors, vectors, transpose_a=True), tf.shape(vectors)[0]
