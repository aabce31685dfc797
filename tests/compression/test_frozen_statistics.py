"""A BatchNormalization that trains as it is shipped, from a step on."""

from __future__ import annotations

import numpy as np
import pytest
from networks import spread

from tfshop._keras import keras, tf
from tfshop.compression._frozen_statistics import StatisticsUntil
from tfshop.compression._range_places import range_places
from tfshop.compression._rounded_model import Rounding, rounded_model
from tfshop.data import Splits

layers = keras.layers


def test_a_normalization_counts_its_calls_and_then_uses_what_it_has_seen() -> None:
    layer = StatisticsUntil(layers.BatchNormalization(momentum=0.5), calls=2)
    batches = [tf.constant([[float(i)], [float(i) + 2]]) for i in (1, 2, 30)]
    outputs = [layer(batch, training=True).numpy().ravel() for batch in batches]
    assert outputs[0] == pytest.approx([-1, 1], abs=1e-2) and outputs[2].min() > 10, "the third does not see itself"
    mean = layer.layer.moving_mean.numpy()
    layer(batches[2], training=True)
    assert np.array_equal(mean, layer.layer.moving_mean.numpy())


def test_a_normalization_that_is_called_twice_a_step_sees_as_many_steps(dense_clicks: Splits) -> None:
    ids = keras.Input((3,), dtype="int32", name="ids")
    norm, rows = layers.BatchNormalization(name="norm"), layers.Embedding(110, 8, name="table")(ids)
    parts = [norm(layers.Dense(8, name=name)(rows[:, place])) for place, name in enumerate(("one", "other"))]
    model = keras.Model(ids, layers.Dense(1, activation="sigmoid", name="probability")(layers.Concatenate()(parts)))
    names = ("one", "other")
    places = range_places(model, names)
    ranges = dict.fromkeys(places.holders, (-1.0, 1.0))
    wrapped = rounded_model(model, Rounding(places, ranges, moving_steps=3))
    data, norm = dense_clicks.train.inputs["ids"][:64], wrapped.get_layer("norm").layer
    seen = []
    for _ in range(4):
        wrapped({"ids": data}, training=True)
        seen.append(norm.moving_variance.numpy().mean())
    assert len(set(seen[:3])) == 3 and seen[2] == seen[3]


def test_a_normalization_gives_its_mask_on_in_training_too(dense_clicks: Splits) -> None:
    """Else the mean behind it trains with padding in it, and is shipped without."""
    ids = keras.Input((3,), dtype="int32", name="ids")
    rows = layers.Embedding(110, 8, mask_zero=True, name="table")(ids)
    mean = layers.GlobalAveragePooling1D()(layers.BatchNormalization(name="norm")(rows))
    model = keras.Model(ids, layers.Dense(1, activation="sigmoid", name="probability")(mean))
    spread(model)
    wrapped = rounded_model(model, Rounding(range_places(model, ()), {}, moving_steps=0))
    data = np.maximum(dense_clicks.train.inputs["ids"][:64], 1)
    data[:, 1] = 0
    for training in (True, False):
        scores = tf.function(wrapped)({"ids": tf.constant(data)}, training=training)
        np.testing.assert_allclose(scores, model({"ids": data}), atol=1e-6)
