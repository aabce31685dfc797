"""What constant units gave is not lost with them, wherever the layer that read them can keep it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import first_rows, keras_scores
from networks import spread

from tfshop._keras import keras
from tfshop.compression import Candidate, PruneUnits
from tfshop.data import Splits

CONSTANT = 1.5


def network(data: Splits, *, behind: str) -> Any:
    """Twelve units, eight of which give 1.5 whatever they read, before a layer without bias."""
    ids = keras.Input((3,), dtype="int32", name="ids")
    table = keras.layers.Embedding(max(data.schema.tables.values()), 4, name="table")(ids)
    given = keras.layers.Dense(12, activation="relu", name="first")(keras.layers.Flatten()(table))
    second = keras.layers.Dense(8, use_bias=False, name="second")
    normalization = keras.layers.BatchNormalization(name="norm", center=False, scale=False)
    read = second(given)
    if behind == "normalization":
        read = normalization(read)
    elif behind == "activation":
        read = normalization(keras.layers.ReLU()(read))
    elif behind == "two readers":
        read = keras.layers.Concatenate()([normalization(read), keras.layers.ReLU()(read)])
    elif behind == "shared":
        other = keras.layers.Dense(8, use_bias=False, name="other")(keras.layers.Flatten(name="flat")(table))
        read = keras.layers.Concatenate()([normalization(read), normalization(other)])
    head = keras.layers.Dense(1, activation="sigmoid", name="probability")(keras.layers.ReLU(name="relu")(read))
    model = keras.Model(ids, head, name="theirs")
    spread(model)
    kernel, bias = model.get_layer("first").get_weights()
    kernel[:, 1:9], bias[1:9] = 0.0, CONSTANT
    model.get_layer("first").set_weights([kernel, bias])
    if behind != "nothing":
        mean, variance = model.get_layer("norm").get_weights()
        model.get_layer("norm").set_weights([mean + np.linspace(-1, 1, mean.size), variance * 0 + 0.7])
    return model


def gap(step: Any, model: Any, data: Splits) -> tuple[float, list[str]]:
    """Largest change of a score, and which layers were compensated."""
    rows = {"ids": first_rows(data.validation.inputs, 50)["ids"]}
    before = model.get_weights()
    after = step.apply(Candidate(model, data.schema), data, seed=0)
    assert all(np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True))
    change = np.abs(keras_scores(after.model, rows) - keras_scores(model, rows)).max()
    return float(change), after.history[0].notes["compensated"]


def test_a_batch_normalization_takes_what_constant_units_gave(clicks: Splits) -> None:
    model = network(clicks, behind="normalization")
    step = PruneUnits(0.66, keep=("second",), epochs=0)
    found, compensated = gap(step, model, clicks)
    assert found < 1e-5 and compensated == ["second"]
    found, compensated = gap(replace(step, compensate=False), model, clicks)
    assert found > 1e-3 and compensated == []


@pytest.mark.parametrize("behind", ["nothing", "activation", "two readers", "shared"])
def test_what_could_not_keep_it_without_changing_more_is_left_as_it_is(behind: str, clicks: Splits) -> None:
    model = network(clicks, behind=behind)
    _, compensated = gap(PruneUnits(0.66, keep=("second",), epochs=0), model, clicks)
    assert "second" not in compensated


def test_units_of_the_layer_itself_may_go_too(clicks: Splits) -> None:
    """The moving means of the columns that stay are moved by what they lost, no other."""
    model = network(clicks, behind="normalization")
    after = PruneUnits(0.66, minimum=3, epochs=0).apply(Candidate(model, clicks.schema), clicks, seed=0)
    kernel = after.model.get_layer("second").get_weights()[0]
    assert kernel.shape == (4, 3)
    was = model.get_layer("second").get_weights()[0]
    kept = [int(np.flatnonzero((was[[0]] == kernel[[0], [column]]).all(axis=0))[0]) for column in range(3)]
    lost = CONSTANT * was[1:9].sum(axis=0)[kept]
    means = model.get_layer("norm").get_weights()[0][kept]
    np.testing.assert_allclose(after.model.get_layer("norm").get_weights()[0], means - lost, atol=1e-5)
