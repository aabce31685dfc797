"""Operators are told by the layer they come from, whatever else is called as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfshop._keras import keras
from tfshop.export import convert
from tfshop.export.groups import named_operators, operator_groups
from tfshop.runtime import read_graph

layers = keras.layers


class Block(layers.Layer):
    """Somebody's layer of layers, whose first one is called as another of the network is."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.first = layers.Dense(4, activation="tanh", name="fc")
        self.second = layers.Dense(4, activation="tanh", name="second")

    def call(self, values: Any) -> Any:
        return self.second(self.first(values))


def dense(name: str) -> Any:
    return layers.Dense(4, activation="tanh", name=name)


def tower(name: str) -> Any:
    values = keras.Input((4,))
    return keras.Model(values, dense("fc")(dense("hidden")(values)), name=name)


CHAINS = {  # name of the network, its layers, and what a group would be confused with
    "prefixes": ("network", lambda: [dense("fc"), dense("fc_1"), dense("fc_1_1")]),
    "the network's own name": ("dense", lambda: [dense("dense"), dense("fc")]),
    "part of a normalization": ("network", lambda: [layers.ReLU(name="relu"), normalization(), dense("batchnorm")]),
    "part of a layer": ("network", lambda: [dense("fc"), Block(name="block_of_two"), Block(name="b")]),
    "nested": ("network", lambda: [tower("tower"), tower("tower_1"), dense("fc"), dense("hidden")]),
}


def normalization() -> Any:
    return layers.BatchNormalization(name="norm")


@pytest.mark.parametrize("what", CHAINS)
def test_every_operator_is_in_the_group_of_its_layer(what: str) -> None:
    name, chain = CHAINS[what]
    keras.utils.set_random_seed(0)
    values = x = keras.Input((4,), name="values")
    for layer in chain():
        x = layer(x)
    model = keras.Model(values, layers.Dense(1, name="score")(x), name=name)
    random = np.random.default_rng(0)
    model.set_weights([random.uniform(0.5, 1.5, weight.shape) for weight in model.get_weights()])
    graph = read_graph(convert(model, "float32"))
    paths = {f"tower{end}/{layer}" for end in ("", "_1") for layer in ("fc", "hidden")} if what == "nested" else set()
    expected = paths | {layer.name for layer in model.layers[1:-1] if not layer.name.startswith("tower")}
    found = {label: names for label, names in operator_groups(graph, model).items() if ":" not in label}
    assert set(found) == expected
    for label, names in found.items():
        assert all(f"{tensor}/".startswith(f"{name}/{label}/") for tensor in names)
    if what not in ("nested", "part of a normalization"):  # one name for several layers; a fused operator is of two
        for label, names in found.items():
            assert set(named_operators(graph, [label], model)) == set(names)
