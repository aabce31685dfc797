"""Networks whose layers hand masks on: passes train the function that is shipped, padding left out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import keras_scores
from networks import spread

from tfshop._keras import keras, tf
from tfshop.compression import QAT, Candidate, Cluster, Pass, Prune
from tfshop.compression._opened import opened
from tfshop.compression._operators import OperatorsByLayer
from tfshop.compression._quantize_rules import OutputRule
from tfshop.compression._tfmot_clustering import in_wrapper
from tfshop.compression._tfmot_pruning import tfmot_can
from tfshop.compression._tfmot_wrappers import RoundedLayer
from tfshop.compression.patterns import Pattern
from tfshop.data import Splits
from tfshop.data.split import Split
from tfshop.export import Export
from tfshop.runtime import Scorer

layers = keras.layers
STEPS: dict[str, Pass] = {
    "Prune": Prune(0.5),
    "Cluster": Cluster(8),
    "QAT": QAT(bits=4),
}


def with_padding(split: Split) -> Split:
    """An id of every other row is padding; never all of a row's."""
    ids = np.maximum(split.inputs["ids"], 1)
    ids[::2, 1] = 0
    return replace(split, inputs={**split.inputs, "ids": ids})


@pytest.fixture(scope="module")
def padded(dense_clicks: Splits) -> Splits:
    """Few rows with padding."""
    return replace(
        dense_clicks,
        train=with_padding(dense_clicks.train.take(512)),
        validation=with_padding(dense_clicks.validation),
    )


def rows_of(data: Splits) -> dict[str, np.ndarray]:
    return {"ids": data.validation.inputs["ids"][:200]}


def network(*, mask_zero: bool = True) -> Any:
    """Dense layers, slopes and an einsum read what has a mask; the score hangs on a mean that leaves padding out."""
    ids = keras.Input((3,), dtype="int32", name="ids")
    rows = layers.Embedding(110, 8, mask_zero=mask_zero, name="table")(ids)
    einsum = layers.EinsumDense("bfi,ij->bfj", (3, 6), name="einsum")(rows)
    rows = layers.Dense(12, activation="tanh", name="first")(rows)
    rows = layers.PReLU(shared_axes=[1], name="slopes")(layers.Dense(8, name="second")(rows))
    mean = layers.GlobalAveragePooling1D(name="mean")(rows)
    joined = layers.Concatenate()([mean, layers.Flatten()(einsum)])
    hidden = layers.Dense(16, activation="relu", name="hidden")(joined)
    model = keras.Model(ids, layers.Dense(1, activation="sigmoid", name="probability")(hidden), name="padded")
    spread(model)
    kernel = model.get_layer("hidden").kernel
    kernel.assign(np.concatenate([5 * kernel.numpy()[:8], kernel.numpy()[8:]]))
    return model


@pytest.mark.parametrize("name", STEPS)
def test_what_reads_a_mask_is_treated_and_the_file_leaves_padding_out(name: str, padded: Splits) -> None:
    model, step = network(), STEPS[name]
    step.check(model, padded.schema)
    after = step.apply(Candidate(model, padded.schema), padded, seed=0)
    assert {"first", "second", "einsum"} <= set(after.history[-1].notes["layers"])
    assert after.model.get_layer("mean").input._keras_mask is not None
    mode = "int8" if name == "QAT" else "float32"
    scores = Scorer(Export(mode, 256).to_bytes(after.model, padded))(rows_of(padded))
    gaps = np.abs(scores - keras_scores(after.model, rows_of(padded)))
    assert gaps.max() < (3e-2 if mode == "int8" else 1e-5)
    unmasked = network(mask_zero=False)
    unmasked.set_weights(model.get_weights())
    assert np.abs(keras_scores(unmasked, rows_of(padded)) - keras_scores(model, rows_of(padded))).max() > 0.05


def test_tf_mot_prunes_where_no_mask_is_lost() -> None:
    for mask_zero in (True, False):
        model = network(mask_zero=mask_zero)
        for name in ("table", "first", "einsum"):
            assert tfmot_can(model, (name,), Pattern(), "constant") != mask_zero
        assert tfmot_can(model, ("hidden",), Pattern(), "constant"), "it reads none"


def test_a_clustered_table_gives_its_mask_on() -> None:
    ids = tf.constant([[3, 0, 5]])
    for mask_zero in (True, False):
        table = layers.Embedding(110, 8, mask_zero=mask_zero, name="table")
        table.build((None, 3))
        rows = in_wrapper(table, tf.TensorShape((None, 3)), 8, "linear")(ids)
        mask = getattr(rows, "_keras_mask", None)
        assert mask is None if not mask_zero else mask.numpy().tolist() == [[True, False, True]]


def test_a_layer_that_takes_a_mask_gets_it_in_its_wrapper() -> None:
    values = tf.constant([[1.0, 1.0, 1.0]])
    values._keras_mask = tf.constant([[True, False, True]])
    wrapper = RoundedLayer(layers.Softmax(), OutputRule(follows=False), name="shares")
    np.testing.assert_allclose(wrapper(values, training=False), [[0.5, 0.0, 0.5]], atol=0.03)


def test_a_sum_of_several_with_masks_is_not_laid_open(padded: Splits) -> None:
    """Operators give no mask on: the mean behind them would take padding in."""
    ids = keras.Input((3,), dtype="int32", name="ids")
    rows = layers.Add(name="sum")([layers.Embedding(110, 8, mask_zero=True)(ids) for _ in range(3)])
    mean = layers.GlobalAveragePooling1D()(layers.Dense(12, name="first")(rows))
    model = keras.Model(ids, layers.Dense(1, activation="sigmoid", name="probability")(mean))
    spread(model)
    found = opened(model, ("first",), OperatorsByLayer(model))
    np.testing.assert_allclose(keras_scores(found, rows_of(padded)), keras_scores(model, rows_of(padded)), atol=1e-6)
