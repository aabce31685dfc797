"""Training: the best weights are kept, it stops when nothing is gained, and it refuses what it cannot train."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import same_weights
from sklearn.metrics import log_loss, roc_auc_score

from tfshop._keras import keras, tf
from tfshop.data import (
    IdFeature,
    NumericFeature,
    Schema,
    SequenceFeature,
    Splits,
    Table,
    TimeSplit,
    prepare,
)
from tfshop.data.datasets.synthetic import synthetic_table
from tfshop.errors import DataError, ModelError, PlanError
from tfshop.models import build_model
from tfshop.training import FitSettings, fit, predict, train

TINY = {"dimension": 4, "hidden": (16,)}


@pytest.fixture(scope="module")
def overfitted(clicks: Splits) -> tuple[Any, Any]:
    """A network that learns fast and is given more epochs than it can use."""
    model = build_model("mlp", clicks.schema, dimension=8, hidden=(64,))
    return model, train(model, clicks, epochs=12, learning_rate=0.03, patience=2)


def test_training_stops_when_validation_stops_rising(overfitted: tuple[Any, Any]) -> None:
    _, history = overfitted
    aucs = [row.validation_auc for row in history.epochs]
    assert history.stopped_early and len(aucs) < 12
    assert [row.epoch for row in history.epochs] == list(range(1, len(aucs) + 1))
    assert len(aucs) == history.kept_epoch + 2


def test_the_model_holds_the_weights_of_the_best_epoch(overfitted: tuple[Any, Any], clicks: Splits) -> None:
    """Its figures, computed again from the model itself, are those of the kept epoch and of no other."""
    model, history = overfitted
    aucs = [row.validation_auc for row in history.epochs]
    assert history.kept_epoch == int(np.argmax(aucs)) + 1 and history.best.validation_auc > 0.8
    scores = predict(model, clicks.validation)
    assert roc_auc_score(clicks.validation.labels, scores) == pytest.approx(max(aucs), abs=1e-6)
    assert log_loss(clicks.validation.labels, scores.astype(np.float64)) == pytest.approx(
        history.best.validation_log_loss, abs=1e-6
    )
    assert max(aucs) - aucs[-1] > 1e-5, "the last epoch was the best: nothing was shown"


def test_another_training_lets_go_of_the_one_before(clicks: Splits) -> None:
    """Its step function holds its moments: two copies of every table."""
    model = build_model("mlp", clicks.schema, **TINY)
    train(model, clicks, epochs=1)
    first = weakref.ref(model.train_tf_function)
    train(model, clicks, epochs=1)
    gc.collect()
    assert first() is None and model.train_tf_function is not None


def test_predictions_come_in_the_order_of_the_split(clicks: Splits, trained_mlp: Any) -> None:
    direct = trained_mlp({name: values[:300] for name, values in clicks.test.inputs.items()}).numpy()[:, 0]
    np.testing.assert_allclose(predict(trained_mlp, clicks.test.with_batch_size(7))[:300], direct, atol=1e-6)


def test_the_loss_of_an_epoch_is_the_mean_over_its_steps(clicks: Splits) -> None:
    """Several steps run in one call; the history does not miss any: 19 steps an epoch, 8 a call."""
    seen: list[float] = []

    class Losses(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append(logs["loss"])

    model = build_model("mlp", clicks.schema, **TINY)
    history = train(model, clicks, epochs=2, learning_rate=1e-3, callbacks=[Losses()])
    assert [row.loss for row in history.epochs] == pytest.approx(seen)
    assert int(model.optimizer.iterations) == 2 * clicks.train.num_batches
    assert 0.4 < history.epochs[1].loss < history.epochs[0].loss < 0.8


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(clicks: Splits) -> None:
    models = []
    for seed in (5, 5, 6):
        models.append(build_model("mlp", clicks.schema, seed=1, dropout=0.2, **TINY))
        train(models[-1], clicks, epochs=1, seed=seed)
    assert same_weights(models[0], models[1])
    assert not same_weights(models[0], models[2])


def test_the_test_split_is_not_read(clicks: Splits) -> None:
    """A test split without a single usable row changes nothing."""
    broken = replace(
        clicks.test,
        inputs={name: np.full_like(values, 10**6) for name, values in clicks.test.inputs.items()},
        labels=np.full_like(clicks.test.labels, np.nan),
    )
    models = [build_model("mlp", clicks.schema, seed=2, **TINY) for _ in range(2)]
    train(models[0], clicks, epochs=1)
    train(models[1], replace(clicks, test=broken), epochs=1)
    assert same_weights(*models)


def test_a_network_with_an_input_for_each_feature_is_trained_by_name(clicks: Splits) -> None:
    """Inputs are declared against the order of the schema."""
    inputs = [
        keras.Input((), dtype="int32", name="id_2"),
        keras.Input((1,), name="number_1"),
        keras.Input((), dtype="int32", name="id_0"),
    ]
    sizes = clicks.schema.tables
    first = keras.layers.Embedding(sizes["id_2"], 4)(inputs[0])
    second = keras.layers.Embedding(sizes["id_0"], 4)(inputs[2])
    output = keras.layers.Dense(1, activation="sigmoid")(keras.layers.Concatenate()([first, second]))
    history = train(keras.Model(inputs, output), clicks, epochs=2, learning_rate=0.01)
    assert history.best.validation_auc > 0.65


def test_a_subclassed_model_is_refused(clicks: Splits) -> None:
    class Subclassed(keras.Model):
        def call(self, inputs: Any) -> Any:
            return inputs["numeric"]

    with pytest.raises(
        ModelError, match=r"'mine' \(Subclassed\) is subclassed. Expected a functional.*Fix: .*keras.Model\("
    ):
        train(Subclassed(name="mine"), clicks)


def test_a_frozen_network_is_refused(clicks: Splits) -> None:
    """Epochs would be told of that changed nothing."""
    model = build_model("mlp", clicks.schema, **TINY)
    model.trainable = False
    with pytest.raises(ModelError, match=r"'mlp' has no weight to train.*Fix: model.trainable = True"):
        train(model, clicks, epochs=1)
    model.trainable = True
    model.get_layer("table").trainable = False
    before = model.get_weights()
    train(model, clicks, epochs=1)
    assert not same_weights(before, model)


def test_what_is_no_tf_keras_model_is_refused(clicks: Splits) -> None:
    """A model of another Keras has the same methods and another base class."""

    class Functional:
        name = "other"
        inputs: tuple[Any, ...] = ()

        def get_weights(self) -> list[Any]:
            return []

    with pytest.raises(ModelError, match=r"Functional is not a tf_keras model.*Fix: .*build it with"):
        train(Functional(), clicks)


def test_several_outputs_are_refused(clicks: Splits, trained_mlp: Any) -> None:
    two = keras.Model(trained_mlp.inputs, [trained_mlp.output, trained_mlp.get_layer("logit").output], name="two")
    with pytest.raises(ModelError, match=r"'two' has 2 outputs. Expected one. Fix:"):
        train(two, clicks)


def test_an_input_the_schema_lacks_is_refused_by_name(clicks: Splits) -> None:
    colour = keras.Input((1,), name="colour")
    model = keras.Model(colour, keras.layers.Dense(1, activation="sigmoid")(colour))
    with pytest.raises(ModelError, match=r"'colour'.*Fix:"):
        train(model, clicks)


def test_a_training_that_diverges_says_so(clicks: Splits) -> None:
    numeric = keras.Input((2,), name="numeric")  # with its holes: NaN goes straight into the loss
    model = keras.Model(numeric, keras.layers.Dense(1, activation="sigmoid")(numeric), name="raw")
    with pytest.raises(DataError, match=r"training of 'raw' diverged: after epoch 1.*Fix: a smaller learning_rate"):
        train(model, clicks)


def test_weights_that_diverged_are_found_where_the_scores_do_not_show_it(clicks: Splits) -> None:
    """A ReLU of NaN is 0 on some machines; here a layer that puts numbers in the place of all that is none."""
    numeric = keras.Input((2,), name="numeric")
    hidden = keras.layers.Dense(4, name="hidden")(numeric)
    told = keras.layers.Lambda(lambda x: tf.where(tf.math.is_finite(x), x, tf.zeros_like(x)))(hidden)
    model = keras.Model(numeric, keras.layers.Dense(1, activation="sigmoid")(told), name="raw")
    with pytest.raises(ModelError, match=r"weights of 'hidden' of 'raw' are not finite.*NumericTransform"):
        train(model, clicks, epochs=1)


@pytest.mark.parametrize(
    ("setting", "message"), [({"epochs": 0}, "epochs is 0"), ({"learning_rate": 0.0}, "learning_rate is 0")]
)
def test_settings_out_of_range_are_refused(
    setting: dict[str, Any], message: str, clicks: Splits, trained_mlp: Any
) -> None:
    before = trained_mlp.get_weights()
    with pytest.raises(PlanError, match=rf"{message}.*Fix:"):
        train(trained_mlp, clicks, **setting)
    assert same_weights(before, trained_mlp)


def test_without_keep_best_the_last_weights_stay(clicks: Splits) -> None:
    model = build_model("mlp", clicks.schema, **TINY)
    history = fit(model, clicks, FitSettings(epochs=3, learning_rate=0.1, patience=None, keep_best=False))
    assert history.kept_epoch == len(history.epochs) == 3 and not history.stopped_early
    scores = predict(model, clicks.validation)
    assert roc_auc_score(clicks.validation.labels, scores) == pytest.approx(history.epochs[-1].validation_auc, abs=1e-6)


@pytest.fixture(scope="module")
def log() -> tuple[Table, Schema, TimeSplit]:
    """A log sorted by day, its schema and split."""
    table = synthetic_table(6000, num_id_features=3, rows_per_feature=100, num_numeric=2, history=5, seed=3)
    ids = [IdFeature(f"id_{number}") for number in range(3)]
    history = SequenceFeature("hist_id_0", table="id_0", max_length=5)
    schema = Schema([*ids, NumericFeature("number_0"), NumericFeature("number_1"), history], target="clicked")
    return table, schema, TimeSplit("day", validation=8, test=9)


def test_rows_in_files_train_the_network_that_rows_in_memory_do(
    log: tuple[Table, Schema, TimeSplit], tmp_path: Path
) -> None:
    table, schema, split = log
    models = []
    for cache_dir in (None, tmp_path):
        data = prepare(table, schema, split=split, batch_size=256, cache_dir=cache_dir)
        model = build_model("mlp", data.schema, **TINY)
        train(model, data, epochs=2, learning_rate=5e-3)
        models.append((model, predict(model, data.test)))
    assert same_weights(models[0][0], models[1][0])
    np.testing.assert_array_equal(models[0][1], models[1][1])


def test_rows_shuffled_by_blocks_train_as_well(
    log: tuple[Table, Schema, TimeSplit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The buffer holds an eighth of the training rows, in blocks of neighbouring ones."""
    table, schema, split = log
    monkeypatch.setattr("tfshop.data.reading.BUFFER_BYTES", 600 * 44)
    monkeypatch.setattr("tfshop.data.reading.BLOCKS_PER_BUFFER", 32)
    aucs = []
    for cache_dir in (None, tmp_path):
        data = prepare(table, schema, split=split, batch_size=128, cache_dir=cache_dir)
        model = build_model("mlp", data.schema, **TINY)
        aucs.append(max(row.validation_auc for row in train(model, data, epochs=2, learning_rate=5e-3).epochs))
    assert aucs[0] != aucs[1], "another order"
    assert aucs[1] == pytest.approx(aucs[0], abs=0.02)
