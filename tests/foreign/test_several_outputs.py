"""A network of somebody else's with two outputs and a shared, nested bottom."""

from __future__ import annotations

import numpy as np
import pytest

import tfshop as ts
from tfshop._keras import keras
from tfshop.data import IdFeature, RandomSplit, Schema, prepare
from tfshop.models.rebuild import inlined

from .conftest import click_table
from .styles import embedded, id_inputs

layers = keras.layers
TARGETS = ("clicked", "bought")


@pytest.fixture(scope="module")
def log():
    table = click_table()
    table["bought"] = table["clicked"] * (np.arange(len(table)) % 2)
    schema = Schema([IdFeature(f"id_{number}") for number in range(3)], target=TARGETS)
    return prepare(table, schema, split=RandomSplit(seed=0), batch_size=128)


@pytest.fixture(scope="module")
def network(log):
    keras.utils.set_random_seed(0)
    inputs = id_inputs(log.schema)
    bottom = keras.Sequential([layers.Dense(16, activation="relu", name="wide")], name="bottom")
    shared = bottom(layers.Concatenate()(embedded(log.schema, inputs)))
    towers = {name: layers.Dense(8, activation="relu", name=f"tower_{name}")(shared) for name in TARGETS}
    heads = {name: layers.Dense(1, activation="sigmoid", name=f"head_{name}")(tower) for name, tower in towers.items()}
    model = keras.Model(inputs, heads)
    ts.train(model, log, epochs=1, learning_rate=1e-2)
    return model


@pytest.mark.usefixtures("brief_timing")
def test_passes_treat_every_tower_and_outputs_stay_with_their_targets(network, log):
    result = ts.compress(network, log, ts.chain(ts.Prune(0.5), ts.QAT(), ts.Export("int8")))
    treated = ["bottom/wide", "tower_bought", "tower_clicked"]
    assert sorted(result.candidate.history[0].notes["layers"]) == treated
    heads = {row["layer"] for row in result.left_alone if row["class"] == "Dense"}
    assert heads == {"head_clicked", "head_bought"}
    assert result.artifact.verify() == 0


def test_an_inlined_network_keeps_its_outputs_by_key(network):
    flat = inlined(network)
    rows = {f"id_{number}": np.int32([[1], [7]]) for number in range(3)}
    before, after = network(rows), flat(rows)
    assert set(after) == set(TARGETS)
    for name in TARGETS:
        np.testing.assert_allclose(after[name], before[name], atol=1e-6)
