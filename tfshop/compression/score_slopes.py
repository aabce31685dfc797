"""How the scores of a network answer to what its layers give: the weight of an error that is made there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._console import progress
from tfshop._keras import keras, tf
from tfshop.compression.rebuild import copy_model
from tfshop.compression.roles import output_tensors
from tfshop.data.split import Split
from tfshop.models.rebuild import fresh
from tfshop.training.inputs import model_specs
from tfshop.training.outputs import arrange_outputs
from tfshop.training.tracing import for_batches

SLOPE_ROWS = 8192
SLOPE_BATCH = 1024
NEAREST = 1e-6  # to 0 and 1 that a probability is taken to be
PRODUCT = "_before_activation"


def output_slopes(
    model: Any, names: Sequence[str], split: Split, *, rows: int = SLOPE_ROWS, seed: int = 0
) -> dict[str, NDArray[np.float64]]:
    r"""Second moments of the slopes of the scores, with respect to what Dense layers give before their activation.

    With G the moments, C those of what the layer reads, and D a change of its kernel, the cross-entropy that it costs
    is expected to be :math:`\mathrm{tr}(D^T C D G) / 2` to second order, were slopes independent of what is read.

    Args:
        model: Functional model without submodels; left as it is.
        names: Dense layers.
        split: Usually the training split, never the test split. No label is read.
        rows: Most rows to run, forwards and once backwards a target.
        seed: Of the sample.

    Returns:
        Layer name to float64 (outputs, outputs), the mean over rows of the outer products, the sum over targets, calls
        and positions.

    References:
        Martens & Grosse, Optimizing Neural Networks with Kronecker-factored Approximate Curvature, ICML 2015.
    """
    if not names:
        return {}
    opened = copy_model(model, lambda layer: _opened(layer) if layer.name in names else fresh(layer), unfilled=names)
    products = {name: opened.get_layer(f"{name}{PRODUCT}") for name in names}
    for name, product in products.items():  # an activation that learns has the rest
        product.set_weights(model.get_layer(name).get_weights()[: len(product.weights)])
    seen = {name: output_tensors(layer, opened) for name, layer in products.items()}
    probe = keras.Model(opened.inputs, {"scores": arrange_outputs(opened, split.schema).outputs, "seen": seen})
    watched = [layer.kernel for layer in products.values()]

    def gathered(inputs: Any) -> dict[str, Any]:
        slopes = scores_and_slopes(probe, watched, inputs)["slopes"]
        return {name: tf.add_n([_outer(one) for one in calls]) for name, calls in slopes.items()}

    sample = split.take(min(rows, split.num_rows), seed=seed).with_batch_size(SLOPE_BATCH)
    sums = for_batches(gathered, model, sample.num_batches)
    totals: dict[str, NDArray[np.float64]] = {}
    with progress("slopes of the scores", sample.num_batches) as advance:
        for inputs, _ in sample.batches(inputs=model_specs(model)):
            for name, found in sums(inputs).items():
                totals[name] = totals.get(name, 0.0) + found.numpy().astype(np.float64)
            advance()
    return {name: total / sample.num_rows for name, total in totals.items()}


def scores_and_slopes(probe: Any, watched: Sequence[Any], inputs: Any) -> dict[str, Any]:
    r"""Scores of a batch, and what each number that layers give changes in them.

    With :math:`a = 2 \arcsin \sqrt p`, half the square of a change of a is the cross-entropy that it costs, to second
    order: :math:`\mathrm{KL} \approx p (1 - p)\,\Delta z^2 / 2`. The slopes are those of a.

    Args:
        probe: Gives a dict of "scores", a list of (rows, 1), of "seen", the tensors of each call by a layer's name,
            and of anything else.
        watched: Weights that all of these tensors depend on.
        inputs: Of the batch.

    Returns:
        The dict, with scores (targets, rows), and with slopes (targets, rows, …) of each call in the place of "seen".
    """
    with tf.GradientTape(persistent=True) as tape:
        for weights in watched:
            tape.watch(weights)
        found = probe(inputs, training=False)
        scores = [tf.clip_by_value(tf.reshape(score, (-1,)), NEAREST, 1 - NEAREST) for score in found["scores"]]
        angles = [2.0 * tf.asin(tf.sqrt(score)) for score in scores]
    seen = found.pop("seen")
    zero = tf.UnconnectedGradients.ZERO
    by_target = [tape.gradient(angle, seen, unconnected_gradients=zero) for angle in angles]
    slopes = {
        name: [tf.stack([tf.convert_to_tensor(own[name][call]) for own in by_target]) for call in range(len(calls))]
        for name, calls in seen.items()
    }
    return {**found, "scores": tf.stack(scores), "slopes": slopes}


def _opened(layer: Any) -> tuple[Any, Any]:
    """A Dense layer as two, so that there is a tensor between its product and its activation, which is the same."""
    product = fresh(layer, f"{layer.name}{PRODUCT}", {"activation": "linear"})
    return product, keras.layers.Activation(layer.activation, name=layer.name)


def _outer(slopes: Any) -> Any:
    """Sum of the outer products along the last axis."""
    vectors = tf.reshape(slopes, (-1, slopes.shape[-1]))
    return tf.matmul(vectors, vectors, transpose_a=True)
