"""What the scores make of an error in what a layer gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from networks import spread

from tfshop._keras import keras
from tfshop.compression.score_slopes import output_slopes
from tfshop.data import Splits

layers = keras.layers
ROWS = 300


def network(data: Splits, *, twice: bool, activation: Any = "tanh") -> Any:
    """A layer with an activation that is called once or twice, before a head a target."""
    ids = keras.Input((len(data.schema.id_columns),), dtype="int32", name="ids")
    table = layers.Embedding(max(data.schema.tables.values()), 4, name="table")(ids)
    hidden = layers.Dense(5, activation=activation, name="hidden", trainable=False)
    read = hidden(layers.Flatten()(table))
    if twice:
        read = layers.Add()([read, hidden(layers.Flatten()(layers.ReLU()(table)))])
    names = data.schema.outputs.values()
    model = keras.Model(ids, [layers.Dense(1, activation="sigmoid", name=name)(read) for name in names])
    spread(model)
    return model


def slopes_by_hand(model: Any, ids: Any, derivative: Callable[[Any], Any] = lambda given: 1 - given**2) -> np.ndarray:
    """Of 2 asin(sqrt(sigmoid(z))) the derivative is sqrt(p (1 - p)), of tanh 1 - tanh^2."""
    hidden = model.get_layer("hidden")
    calls = [keras.Model(model.inputs, node.outputs)(ids).numpy() for node in hidden._inbound_nodes]
    total = np.zeros((5, 5))
    for output in model.outputs:
        score = keras.Model(model.inputs, output)(ids).numpy()
        for given in calls:
            slopes = np.sqrt(score * (1 - score)) * output._keras_history.layer.kernel.numpy()[:, 0] * derivative(given)
            total += slopes.T @ slopes / len(slopes)
    return total


def test_slopes_are_those_before_the_activation(clicks: Splits) -> None:
    model = network(clicks, twice=False)
    rows = clicks.train.take(ROWS)
    found = output_slopes(model, ["hidden"], rows)
    np.testing.assert_allclose(found["hidden"], slopes_by_hand(model, rows.inputs["ids"]), rtol=1e-4, atol=1e-8)


def test_an_activation_may_have_weights(clicks: Splits) -> None:
    model = network(clicks, twice=False, activation=layers.PReLU())
    kernel, bias, slopes = model.get_layer("hidden").get_weights()
    slopes = np.linspace(0.1, 0.9, len(slopes), dtype=np.float32)
    model.get_layer("hidden").set_weights([kernel, bias, slopes])
    rows = clicks.train.take(ROWS)
    wanted = slopes_by_hand(model, rows.inputs["ids"], lambda given: np.where(given > 0, 1, slopes))
    np.testing.assert_allclose(output_slopes(model, ["hidden"], rows)["hidden"], wanted, rtol=1e-4, atol=1e-8)
    assert np.ptp(wanted) > 0


def test_calls_of_a_shared_layer_and_targets_add_up(clicks: Splits, two_targets: Splits) -> None:
    for data in (clicks, two_targets):
        model, rows = network(data, twice=True), data.train.take(ROWS)
        found = output_slopes(model, ["hidden"], rows)
        np.testing.assert_allclose(found["hidden"], slopes_by_hand(model, rows.inputs["ids"]), rtol=1e-4, atol=1e-8)


def test_a_layer_that_no_score_hears_has_no_slopes(clicks: Splits) -> None:
    model = network(clicks, twice=False)
    head = model.get_layer("probability")
    head.set_weights([np.zeros((5, 1)), np.ones(1)])
    assert not output_slopes(model, ["hidden"], clicks.train.take(ROWS))["hidden"].any()
    assert output_slopes(model, [], clicks.train) == {}
