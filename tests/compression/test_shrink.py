"""Smaller networks of the same make."""

from __future__ import annotations

import numpy as np
import pytest
from foreign.conftest import click_schema, click_table
from foreign.styles import STYLES
from helpers import same_weights
from sklearn.metrics import roc_auc_score

from tfshop._keras import keras
from tfshop.compression import shrink, warm_start
from tfshop.compression.rebuild import KeepZeros, copy_model
from tfshop.compression.warm_start import unit_scores
from tfshop.data import RandomSplit, prepare
from tfshop.errors import PlanError
from tfshop.export import Export
from tfshop.models import MODELS, build_model
from tfshop.runtime import Scorer
from tfshop.runtime.inventory import bytes_by_part
from tfshop.training import predict, train


@pytest.fixture(scope="module")
def log():
    """Three id columns and a price."""
    return prepare(click_table(2000), click_schema(), split=RandomSplit(seed=0), batch_size=128)


def widths(model) -> dict[str, int]:
    return {layer.name: layer.units for layer in model.layers if type(layer) is keras.layers.Dense}


def build(style, log):
    keras.utils.set_random_seed(0)
    return STYLES[style](log.schema)


@pytest.mark.parametrize("style", [name for name in STYLES if name != "attention"])
def test_networks_of_others_become_narrower(style, log):
    model = build(style, log)
    before = model.get_weights()
    small = shrink(model, width=0.5)
    assert same_weights(model, before)
    hidden = {name: units for name, units in widths(small).items() if units > 1}
    assert hidden and small.count_params() < model.count_params()
    assert {t.name: t.shape.as_list() for t in small.inputs} == {t.name: t.shape.as_list() for t in model.inputs}
    assert [t.shape.as_list() for t in small.outputs] == [t.shape.as_list() for t in model.outputs]


@pytest.mark.parametrize("style", ["normalized", "shared_tower", "with_lambda"])
def test_what_became_narrower_still_trains_and_converts(style, log):
    small = shrink(build(style, log), width=0.5, dimension=3)
    fresh = copy_model(small)
    train(small, log, epochs=3, learning_rate=1e-2)
    auc, untrained = (roc_auc_score(log.validation.labels, predict(one, log.validation)) for one in (small, fresh))
    assert auc > untrained + 0.1
    content, rows = Export("float32").to_bytes(small, log), log.validation.take(200)
    found = Scorer(content, schema=log.schema).score_split(rows)
    np.testing.assert_allclose(found, predict(small, rows), atol=1e-5)


@pytest.mark.parametrize("style", ["plain", "interactions", "normalized", "shared_tower", "with_tf_ops"])
def test_tables_become_narrower_and_the_file_smaller(style, log):
    model = build(style, log)
    small = shrink(model, width=0.5, dimension=2)
    tables = [layer.output_dim for layer in small.layers if type(layer) is keras.layers.Embedding]
    assert tables and max(tables) == 2
    before, after = (bytes_by_part(Export("float32").to_bytes(one, log)) for one in (model, small))
    assert after["tables"] < 0.6 * before["tables"] and after["dense"] < 0.6 * before["dense"]


def test_the_last_layers_of_a_tower_are_dropped_with_what_belongs_to_them(log):
    small = shrink(build("normalized", log), depth=1)
    assert {"second", "third", "prelu"} & {layer.name for layer in small.layers} == set()
    assert widths(small) == {"first": 16, "click": 1} and "norm" in {layer.name for layer in small.layers}
    *hidden, last = widths(shrink(build("nested", log), depth=2))
    assert hidden == ["middle/inner/first", "middle/inner/second"] and last.startswith("head/")


def test_what_meets_in_a_product_stays_equally_wide(log):
    small = shrink(build("factorization", log), width=0.5, dimension=4)
    assert widths(small) == {"users": 4, "items": 4}
    x = keras.Input((12,))
    crossed = keras.layers.Add()([x, keras.layers.Multiply()([x, keras.layers.Dense(12, name="cross")(x)])])
    tower = keras.layers.Dense(8, name="hidden")(crossed)
    model = keras.Model(x, keras.layers.Dense(1)(tower))
    assert widths(shrink(model, width=0.5)) == {"cross": 12, "hidden": 4, model.layers[-1].name: 1}


@pytest.mark.parametrize("name", [name for name in MODELS if name != "logistic_regression"])
def test_ours_shrink_by_hyperparameters(name, richest):
    model, data = richest(name)
    small = shrink(model, dimension=0.5, schema=data.schema)
    assert small.name == name and small.output_names == model.output_names
    assert small.count_params() < 0.99 * model.count_params()


def test_ours_shrink_in_every_direction(clicks):
    model = build_model("dcn", clicks.schema, dimension=8, hidden=(64, 32, 16), num_crosses=2)
    for schema in (clicks.schema, None):
        small = shrink(model, width=0.5, depth=2, dimension=4, schema=schema)
        assert {name: units for name, units in widths(small).items() if not name.startswith("cross")} == {
            "dense_0": 32,
            "dense_0_numeric": 32,
            "dense_1": 16,
            "logit": 1,
        }
        assert small.get_layer("table").output_dim == 4
        assert small.get_layer("cross_1_kernel").units == small.get_layer("features").output.shape[-1]


@pytest.mark.parametrize("name", ["dcn", "dcn_mix", "dcn_vector", "gdcn"])
def test_depth_is_that_of_the_crosses_too(name, clicks):
    model = build_model(name, clicks.schema, dimension=4, hidden=(16, 8), num_crosses=3)
    small = {layer.name: layer for layer in shrink(model, depth=1, schema=clicks.schema).layers}
    assert {place for place in small if place.startswith("cross_") and place.endswith("kernel")} == {"cross_0_kernel"}
    assert "dense_1" not in small and small["dense_0"].units == 16


def test_crosses_go_by_a_number_of_their_own(clicks):
    model = build_model("dcn", clicks.schema, dimension=4, hidden=(16, 8, 8), num_crosses=3)
    for settings, crosses, layers in (
        ({"crosses": 1}, 1, 3),
        ({"crosses": 2, "depth": 1}, 2, 1),
        ({"crosses": 9, "depth": 2}, 3, 2),
        ({"crosses": 0.34, "width": 4}, 1, 3),
    ):
        small = [layer.name for layer in shrink(model, schema=clicks.schema, **settings).layers]
        assert sum(name.startswith("cross_") and name.endswith("kernel") for name in small) == crosses
        assert len({name for name in small if name in {"dense_0", "dense_1", "dense_2"}}) == layers


def test_the_same_seed_gives_the_same_student(log):
    model = build("plain", log)
    assert same_weights(shrink(model, width=0.5, seed=3), shrink(model, width=0.5, seed=3))
    assert not same_weights(shrink(model, width=0.5, seed=3), shrink(model, width=0.5, seed=4))


@pytest.mark.parametrize(
    ("style", "wanted", "message"),
    [
        ("plain", {}, "nothing to shrink"),
        ("plain", {"width": 1.5}, r"width is 1.5. Expected a share as a float in \(0, 1\], or a whole number"),
        ("plain", {"depth": True}, "depth is True"),
        (
            "plain",
            {"width": 64},
            r"no hidden layer wider than 64 units\. .*Fix: Distill\(shrink=\{'width': \d+\}\)",
        ),
        ("plain", {"depth": 9}, r"no tower deeper than 9 hidden layers\. .*Fix: Distill\(shrink=\{'depth': \d\}\)"),
        ("plain", {"width": 1.0, "dimension": 99}, r"wider than \d+ units and no table wider than 99 numbers"),
        ("plain", {"crosses": 1}, r"cannot shrink in crosses: it has not crosses of ours.*Fix: leave crosses out"),
        ("attention", {"dimension": 2}, "cannot shrink to .*Fix: .*build the student yourself"),
    ],
)
def test_what_cannot_shrink_is_refused(style, wanted, message, log):
    with pytest.raises(PlanError, match=message):
        shrink(build(style, log), **wanted)


def test_a_network_without_hidden_layers_is_refused(linear):
    with pytest.raises(PlanError, match="'linear' cannot shrink in width: it has not a hidden Dense layer"):
        shrink(linear, width=0.5)


@pytest.mark.parametrize("style", ["plain", "interactions", "normalized", "wide_and_deep", "shared_tower"])
def test_a_warm_student_begins_far_better_than_a_fresh_one(style, log):
    model = build(style, log)
    train(model, log, epochs=3, learning_rate=1e-2)
    student = shrink(model, width=0.5, dimension=3)

    def auc(one) -> float:
        return float(roc_auc_score(log.validation.labels, predict(one, log.validation)))

    fresh = auc(student)
    filled = warm_start(student, model, log.train)
    assert set(filled) == {layer.name for layer in student.layers if layer.weights}
    assert auc(student) > fresh + 0.5 * (auc(model) - fresh) > fresh + 0.05


def test_units_that_say_nothing_score_nothing_and_are_not_kept(log):
    model = build("plain", log)
    kernel, bias = model.get_layer("first").get_weights()
    bias[:8] = -1e3  # their ReLU never opens
    model.get_layer("first").set_weights([kernel, bias])
    assert (unit_scores(model, log.train)["first"][:8] == 0).all()
    student = shrink(model, width=0.5)
    warm_start(student, model, log.train)
    np.testing.assert_array_equal(student.get_layer("first").get_weights()[0], kernel[:, 8:])


def test_layers_that_read_other_things_keep_their_fresh_weights(log):
    model = build("plain", log)
    student = shrink(model, depth=1)
    before = student.get_layer("click").get_weights()
    assert "click" not in warm_start(student, model, log.train)
    assert same_weights(before, student.get_layer("click").get_weights())


def test_a_student_of_another_family_takes_what_it_shares(trained_dcn, clicks):
    student = build_model("mlp", clicks.schema, dimension=4, hidden=(16, 8))
    filled = warm_start(student, trained_dcn, clicks.train)
    assert {"table", "dense_0", "dense_1"} <= set(filled) and "logit" not in filled
    columns = trained_dcn.get_layer("table").get_weights()[0].T.tolist()
    assert all(column in columns for column in student.get_layer("table").get_weights()[0].T.tolist())


def frozen(*, table: int) -> keras.Model:
    """Tables and a tower of which nothing trains, and a head that does."""
    keras.utils.set_random_seed(0)
    ids = keras.Input((3,), dtype="int32", name="ids")
    rows = keras.layers.Embedding(9, table, trainable=False, name="table")(ids)
    hidden = keras.layers.Dense(8, activation="relu", trainable=False, name="first")(keras.layers.Flatten()(rows))
    hidden = keras.layers.BatchNormalization(trainable=False, name="norm")(hidden)
    hidden = keras.layers.BatchNormalization(center=False, scale=False, name="bare_norm")(hidden)
    return keras.Model(ids, keras.layers.Dense(1, activation="sigmoid", name="click")(hidden))


@pytest.mark.parametrize("table", [4, 2])
def test_what_did_not_train_keeps_its_weights_or_trains(table):
    model = frozen(table=table)
    small = shrink(model, width=0.5, dimension=2)
    assert widths(small) == {"first": 4, "click": 1} and small.get_layer("table").output_dim == 2
    trains = {layer.name: layer.trainable for layer in small.layers if layer.weights}
    assert trains == {"table": table > 2, "first": True, "norm": True, "bare_norm": True, "click": True}
    kept = np.array_equal(small.get_layer("table").get_weights()[0], model.get_layer("table").get_weights()[0])
    assert kept == (table == 2)
    assert not model.get_layer("first").trainable


def test_constraints_of_kernels_stay_but_for_zeros_that_are_gone():
    x = keras.Input((6,))
    zeros = KeepZeros(np.eye(6, 8))
    hidden = keras.layers.Dense(8, kernel_constraint=zeros, name="pruned")(x)
    hidden = keras.layers.Dense(8, kernel_constraint="non_neg", name="positive")(hidden)
    small = shrink(keras.Model(x, keras.layers.Dense(1)(hidden)), width=0.5)
    assert small.get_layer("pruned").kernel_constraint is None
    assert isinstance(small.get_layer("positive").kernel_constraint, keras.constraints.NonNeg)


def test_reshapes_of_ids_and_of_scores_stay_as_they_are() -> None:
    """They have no width that could follow from anything."""
    ids = keras.Input((), dtype="int32", name="ids")
    rows = keras.layers.Embedding(9, 4, name="table")(keras.layers.Reshape((1,))(ids))
    hidden = keras.layers.Dense(8, activation="relu", name="first")(keras.layers.Flatten()(rows))
    score = keras.layers.Reshape(())(keras.layers.Dense(1, activation="sigmoid", name="click")(hidden))
    small = shrink(keras.Model(ids, score), width=0.5, dimension=2)
    assert small.get_layer("first").units == 4 and small.get_layer("table").output_dim == 2
    assert small(np.arange(5)).shape == (5,)
