"""What is said of a network of somebody else's before passes train it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tfshop._keras import keras, tf
from tfshop.data import Splits
from tfshop.training.adoption import adopted

layers = keras.layers
ADDED = ("losses and metrics added with add_loss and add_metric are left out of what passes train",)


def network(data: Splits) -> Any:
    """A tower in a submodel."""
    ids = keras.Input((3,), dtype="int32", name="ids")
    read = layers.Flatten()(layers.Embedding(max(data.schema.tables.values()), 4)(ids))
    x = keras.Input(read.shape[1:])
    tower = keras.Model(x, layers.Dense(4, kernel_regularizer="l2", name="hidden")(x), name="tower")
    return keras.Model(ids, layers.Dense(1, activation="sigmoid", name="click")(tower(read)))


def kernel(model: Any) -> Any:
    return model.get_layer("tower").get_layer("hidden").kernel


WAYS: Mapping[str, Callable[[Any], None]] = {
    "of a tensor": lambda model: model.add_loss(tf.reduce_mean(model.output)),
    "without arguments": lambda model: model.add_loss(lambda: tf.reduce_sum(kernel(model))),
    "of a submodel": lambda model: model.get_layer("tower").add_loss(lambda: tf.reduce_sum(kernel(model))),
    "a metric": lambda model: model.add_metric(tf.reduce_mean(model.output), name="mean"),
}


@pytest.mark.parametrize("way", WAYS)
def test_an_added_loss_is_left_out_and_said(way: str, clicks: Splits) -> None:
    model = network(clicks)
    before = len(model.losses)
    WAYS[way](model)
    added = len(model.losses)
    found = adopted(model, clicks.schema)
    assert found.notes[:1] == ADDED
    assert len(found.model.losses) == before == 1 and len(model.losses) == added


def test_a_regularizer_of_a_layer_is_none_of_these(clicks: Splits) -> None:
    found = adopted(network(clicks), clicks.schema)
    assert not set(ADDED) & set(found.notes) and len(found.model.losses) == 1
