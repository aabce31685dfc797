"""Scores of a split: few batches are run as they are, more as a graph, and both give the same."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from two_towers import ITEM, market

from tfshop import _console
from tfshop._keras import keras, tf
from tfshop.data import Splits
from tfshop.models import build_model
from tfshop.training import predict
from tfshop.training.retrieval import vectors_of
from tfshop.training.scoring import outputs_of

TINY = {"dimension": 4, "hidden": (8,)}


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """The validation split of the fixtures makes two to eight, the last one smaller."""
    monkeypatch.setattr("tfshop.training.scoring.SCORING_BATCH", 150)


def without_predict(patch: pytest.MonkeyPatch) -> None:
    """Let no class of Keras trace anything to score."""

    def refused(self: Any, force: bool = False) -> Any:
        raise AssertionError("traced")

    patch.setattr(keras.Model, "make_predict_function", refused)


def named_inputs(data: Splits) -> Any:
    """A network of others, with an input a feature in a dict, and a layer whose way depends on what it reads."""

    class Bounded(keras.layers.Layer):
        def call(self, x: Any, training: bool = False) -> Any:
            if tf.reduce_max(x) > 1.0:  # noqa: SIM108  (AutoGraph makes a branch of it)
                y = tf.minimum(x, 1.0)
            else:
                y = x
            return 0.0 * y if training else y

    inputs = {
        "id_1": keras.Input((), dtype="int64", name="id_1"),
        "number_0": keras.Input((1,), name="number_0"),
    }
    table = keras.layers.Embedding(data.schema.tables["id_1"], 4)(inputs["id_1"])
    number = Bounded()(keras.layers.Lambda(lambda x: tf.where(tf.math.is_nan(x), 0.0, x))(inputs["number_0"]))
    return keras.Model(inputs, keras.layers.Dense(1, "sigmoid")(keras.layers.Concatenate()([table, number])))


@pytest.mark.parametrize("network", ["mlp", "din", "named inputs"])
def test_batches_run_as_they_are_score_as_keras_predicts(
    network: str, clicks: Splits, small_batches: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = named_inputs(clicks) if network == "named inputs" else build_model(network, clicks.schema, **TINY)
    with monkeypatch.context() as patch:
        patch.setattr("tfshop.training.tracing.FEW_BATCHES", 0)
        traced = predict(model, clicks.validation)
        without_predict(patch)
        with pytest.raises(AssertionError, match="traced"):
            predict(keras.models.clone_model(model), clicks.validation)
    without_predict(monkeypatch)
    found = predict(model, clicks.validation)
    assert found.shape == (clicks.validation.num_rows,) and found.dtype == np.float32 and found.std() > 1e-3
    assert 150 < clicks.validation.num_rows <= 8 * 150
    np.testing.assert_allclose(found, traced, rtol=0, atol=1e-6)


def test_several_outputs_and_vectors_are_those_of_keras_too(
    two_targets: Splits, small_batches: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    several, data = build_model("shared_bottom", two_targets.schema, **TINY, heads=(4,)), market()
    towers = build_model("two_tower", data.schema, item=ITEM, vector_width=6, **TINY)
    rows = data.validation.take(500)
    found = predict(several, two_targets.validation), vectors_of(towers, rows, "item")
    assert found[0].shape == (two_targets.validation.num_rows, 2) and found[1].shape == (500, 6)
    monkeypatch.setattr("tfshop.training.tracing.FEW_BATCHES", 0)
    for few, traced in zip(
        found, (predict(several, two_targets.validation), vectors_of(towers, rows, "item")), strict=True
    ):
        np.testing.assert_allclose(few, traced, rtol=0, atol=1e-5)  # graphs have log1p for the log of 1 + x


def test_a_distributed_network_and_one_that_predicts_in_its_own_way_are_left_to_it(
    clicks: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Halving(keras.Model):
        def predict_step(self, data: Any) -> Any:
            return 0.5 * super().predict_step(data)

    model = build_model("mlp", clicks.schema, **TINY)
    halving = Halving(model.inputs, model.output)
    np.testing.assert_allclose(predict(halving, clicks.test), 0.5 * predict(model, clicks.test), atol=1e-6)
    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        placed = build_model("mlp", clicks.schema, **TINY)
    without_predict(monkeypatch)
    with pytest.raises(AssertionError, match="traced"):
        outputs_of(placed, clicks.test)


def test_a_described_scoring_shows_how_far_it_is(
    trained_mlp: Any, clicks: Splits, small_batches: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    @contextmanager
    def progress(description: str, total: float) -> Any:
        seen.append((description, total))
        yield lambda steps=1, note=None: seen.append(steps)

    monkeypatch.setattr(_console, "progress", progress)
    number = -(-clicks.validation.num_rows // 150)
    for limit in (number, number - 1):
        monkeypatch.setattr("tfshop.training.tracing.FEW_BATCHES", limit)
        predict(trained_mlp, clicks.validation, description="scoring")
        assert seen[0] == ("scoring", number) and sum(seen[1:]) == number
        seen.clear()
