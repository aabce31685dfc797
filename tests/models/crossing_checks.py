"""What the tests of single networks ask of a model beyond the conformance of the table."""

from __future__ import annotations

from typing import Any

import numpy as np
from helpers import first_rows, keras_scores

from tfshop._keras import keras, tf
from tfshop.data import Splits
from tfshop.export import convert
from tfshop.runtime import Scorer, read_graph


def spread(model: Any) -> Any:
    """Give every weight a size at which scores differ: a fresh network gives 0.5 to every row."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        fan_in = float(np.prod(weight.shape[:-1])) if "kernel" in weight.name else 4.0
        weight.assign(rng.normal(0, fan_in**-0.5, weight.shape))
    return model


def dead_weights(model: Any, data: Splits) -> list[str]:
    """Names of the weights that no row of a batch has a gradient for."""
    rows, labels = first_rows(data.train.inputs, 512), data.train.labels[:512, None]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(keras.losses.binary_crossentropy(labels, model(rows, training=True)))
    gradients = tape.gradient(loss, model.trainable_weights)
    return [
        weight.name
        for weight, gradient in zip(model.trainable_weights, gradients, strict=True)
        if gradient is None or not np.any(tf.convert_to_tensor(gradient).numpy())
    ]


def largest_gap(model: Any, data: Splits) -> float:
    """Between Keras and the file at batch 1, 7 and 512, in one interpreter."""
    content = convert(model, "float32")
    assert read_graph(content).custom_operators == ()
    scorer = Scorer(content)
    gaps = []
    for batch in (1, 7, 512):
        rows = first_rows(data.train.inputs, batch)
        gaps.append(np.abs(scorer(rows) - keras_scores(model, rows)).max())
    return float(max(gaps))


def output_of(model: Any, layer: str, rows: Any) -> np.ndarray:
    """What a layer gives for rows."""
    result: np.ndarray = keras.Model(model.inputs, model.get_layer(layer).output)(rows).numpy()
    return result
