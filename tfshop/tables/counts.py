"""How often each row of a table is looked up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._console import progress
from tfshop._keras import keras, tf
from tfshop.data.split import Split
from tfshop.models.rebuild import calls_in_order
from tfshop.training.inputs import model_specs

BATCH = 16_384


def row_counts(model: Any, names: Sequence[str], split: Split) -> dict[str, NDArray[np.float64]]:
    """Run the ids of a split to the tables and count, in all calls of each.

    Args:
        model: Functional model without submodels.
        names: `Embedding` layers.
        split: The training split: rare in training is what rare means.

    Returns:
        Layer name to float64 (rows,).
    """
    sizes = {name: int(model.get_layer(name).input_dim) for name in names}
    read: dict[str, list[Any]] = {name: [] for name in names}
    for node in calls_in_order(model):
        read.get(node.layer.name, []).extend(node.keras_inputs)
    probe = keras.Model(model.inputs, read)
    totals = {name: np.zeros(size) for name, size in sizes.items()}
    ids_of = tf.function(lambda inputs: probe(inputs, training=False), reduce_retracing=True)
    batches = split.with_batch_size(BATCH)
    with progress("counting ids", batches.num_batches) as advance:
        for inputs, _ in batches.batches(inputs=model_specs(model)):
            for name, tensors in ids_of(inputs).items():
                for tensor in tf.nest.flatten(tensors):
                    totals[name] += np.bincount(tensor.numpy().astype(np.int64).ravel(), minlength=sizes[name])
            advance()
    return totals
