"""Several steps in one call train as Keras has them, and the step is traced once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import same_weights

from tfshop._keras import keras
from tfshop.data import Splits
from tfshop.training import train
from tfshop.training.fit import STEPS_PER_EXECUTION


class Told(keras.callbacks.Callback):
    """What callbacks are told after each call."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seen.append((batch, int(self.model._train_counter), {key: float(value) for key, value in logs.items()}))


def network(data: Splits, kind: Any = keras.Model) -> Any:
    """A table that is looked up twice, noise, a penalty, and statistics that are moved at each step."""
    keras.utils.set_random_seed(0)
    ids = keras.Input((3,), dtype="int32", name="ids")
    table = keras.layers.Embedding(max(data.schema.tables.values()) + 1, 4)
    beside = keras.layers.Concatenate()([keras.layers.Flatten()(table(ids)), keras.layers.Flatten()(table(ids))])
    hidden = keras.layers.Dense(8, kernel_regularizer="l2")(keras.layers.Dropout(0.3)(beside))
    hidden = keras.layers.GaussianNoise(0.1)(keras.layers.BatchNormalization()(hidden))
    return kind(ids, keras.layers.Dense(1, "sigmoid")(hidden))


def trained(data: Splits) -> tuple[Any, Any, list[Any]]:
    model, told = network(data), Told()
    return model, train(model, data, learning_rate=5e-3, seed=4, callbacks=[told]), told.seen


@pytest.fixture(scope="module")
def counted(clicks: Splits) -> tuple[Any, Any, list[Any], list[Any]]:
    """A network trained in several steps a call, its history, what callbacks were told, and the traces of its step."""
    traced, usual = [], keras.Model.train_step

    def train_step(self: Any, data: Any) -> Any:
        traced.append(data)
        return usual(self, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "train_step", train_step)
        return *trained(clicks), traced


def test_the_step_is_traced_once(counted: tuple[Any, Any, list[Any], list[Any]], clicks: Splits) -> None:
    """In two epochs of 8, 8 and 3 steps."""
    _, history, seen, traced = counted
    assert len(traced) == 1 and len(history.epochs) == 2
    assert [batch for batch, _, _ in seen] == [7, 15, 18] * 2 and clicks.train.num_batches == 19


def test_the_weights_are_those_of_the_loop_of_keras_to_the_bit(
    counted: tuple[Any, Any, list[Any], list[Any]], clicks: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, history, seen, _ = counted
    monkeypatch.setattr("tfshop.training.steps.is_of_keras", lambda *_: False)  # as if it had methods of its own
    usual, expected, told = trained(clicks)
    assert usual.train_function is not model.train_function and seen == told
    assert same_weights(model, usual) and not same_weights(model, network(clicks))
    for one, other in zip(model.optimizer.variables, usual.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert [(row.loss, row.validation_auc) for row in history.epochs] == [
        (row.loss, row.validation_auc) for row in expected.epochs
    ]
    assert int(model.optimizer.iterations) == 2 * clicks.train.num_batches > 2 * STEPS_PER_EXECUTION


def test_a_network_with_a_step_of_its_own_takes_it(brief: Splits) -> None:
    class Halting(keras.Model):
        def train_step(self, data: Any) -> Any:
            return {**super().train_step(data), "halted": 1.0}

    told = Told()
    model = network(brief, Halting)
    train(model, brief, epochs=1, callbacks=[told])
    assert told.seen[-1][2]["halted"] == 1.0 and int(model.optimizer.iterations) == 4
