"""Moments of what layers read."""

from __future__ import annotations

import numpy as np

from tfshop._keras import keras
from tfshop.compression.moments import input_moments
from tfshop.data.split import Splits
from tfshop.training.inputs import model_specs


def test_moments_are_those_of_the_tensors_themselves(clicks: Splits, candidate) -> None:
    model = candidate("mlp").model
    layer = next(one for one in model.layers if type(one) is keras.layers.Dense)
    found = input_moments(model, [layer.name], clicks.train, rows=500, seed=3)[layer.name]
    sample = clicks.train.take(500, seed=3)
    inputs = next(iter(sample.with_batch_size(500).batches(inputs=model_specs(model))))[0]
    seen = keras.Model(model.inputs, layer.input)(inputs).numpy().astype(np.float64)
    assert found.count == 500
    np.testing.assert_allclose(found.mean, seen.mean(axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.second, seen.T @ seen / 500, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.mean_square, (seen**2).mean(axis=0), rtol=1e-4, atol=1e-5)


def test_a_layer_called_twice_counts_both_of_its_inputs(clicks: Splits) -> None:
    ids = keras.Input((len(clicks.schema.id_features),), dtype="int32", name="ids")
    table = keras.layers.Embedding(100, 4)(ids)
    shared = keras.layers.Dense(2, name="shared")
    both = keras.layers.Add()([shared(table), shared(-table)])
    model = keras.Model({"ids": ids}, both)
    found = input_moments(model, ["shared"], clicks.train, rows=100)["shared"]
    assert found.count == 2 * 100 * len(clicks.schema.id_features)
    np.testing.assert_allclose(found.mean, 0.0, atol=1e-6)


def test_nothing_asked_is_nothing_run(clicks: Splits, candidate) -> None:
    assert input_moments(candidate("mlp").model, [], clicks.train) == {}
