"""A network that somebody else built, with one input a feature, goes the whole way."""

from __future__ import annotations

import pytest

import tfshop as ts
from tfshop._keras import keras, tf
from tfshop.data.datasets import synthetic
from tfshop.errors import PlanError

from .checks import AT_ONCE


@pytest.fixture(scope="module")
def log():
    return synthetic(6000, num_id_features=3, rows_per_feature=60, num_numeric=0)


@pytest.fixture(scope="module")
def network(log):
    """One Embedding a feature, LayerNormalization in the tower; trained for one epoch."""
    keras.utils.set_random_seed(0)
    inputs = [keras.Input((1,), dtype="int32", name=feature.name) for feature in log.schema.id_features]
    sizes = log.schema.tables
    parts = [
        keras.layers.Flatten()(keras.layers.Embedding(sizes[tensor.name], 4, name=f"table_{tensor.name}")(tensor))
        for tensor in inputs
    ]
    joined = keras.layers.Concatenate()(parts)
    hidden = keras.layers.Dense(16, activation="relu", name="first")(joined)
    hidden = keras.layers.Dense(8, activation="relu", name="second")(keras.layers.LayerNormalization()(hidden))
    output = keras.layers.Dense(1, activation="sigmoid", name="click")(hidden)
    model = keras.Model(inputs, output, name="foreign")
    ts.train(model, log, epochs=1)
    return model


def test_a_network_with_one_input_a_feature_is_compressed_and_timed(network, log):
    result = ts.compress(network, log, ts.chain(ts.Prune(0.5), ts.QAT(), ts.Export("int8")))
    assert set(result.artifact.golden.inputs) == {"id_0", "id_1", "id_2"}
    assert result.evaluation.latency.at(1).p50_us > 0
    assert result.evaluation.auc_difference_test.difference > -0.05
    assert result.artifact.verify() == 0


def test_a_student_of_our_own_can_learn_from_it(network, log):
    plan = ts.chain(ts.Distill({"dimension": 2, "hidden": (8,)}, family="mlp", epochs=1), ts.Export("float32"))
    result = ts.compress(network, log, plan)
    assert set(result.artifact.golden.inputs) == {"ids"}
    assert result.baseline.evaluation.latency.at(1).p50_us > 0


def test_the_fast_recipe_makes_a_narrow_student_of_it(network, log):
    plan = ts.recipes.fast(width=4)
    plan.check(network, log.schema)
    student = plan.passes[0].student_model(network, log.schema)
    assert [student.get_layer(name).units for name in ("first", "second", "click")] == [4, 4, 1]


def test_what_would_abort_the_converter_is_refused_before(network, log):
    with pytest.raises(PlanError, match=r"layer_normalization.*Fix: Export\('int8'\)"):
        ts.compress(network, log, ts.chain(ts.Export("int16x8")))


def test_a_loss_added_to_the_network_is_left_out_and_said(log, capsys):
    inputs = {feature.name: keras.Input((1,), dtype="int32", name=feature.name) for feature in log.schema.id_features}
    sizes = log.schema.tables
    parts = [keras.layers.Flatten()(keras.layers.Embedding(sizes[name], 4)(tensor)) for name, tensor in inputs.items()]
    hidden = keras.layers.Dense(8, activation="relu", name="first")(keras.layers.Concatenate()(parts))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid", name="click")(hidden), name="penalised")
    model.add_loss(1e-3 * tf.reduce_mean(hidden))
    result = ts.compress(model, log, ts.chain(AT_ONCE, ts.QAT(), ts.Export("int8", 512)))
    assert result.artifact.verify() == 0
    captured = capsys.readouterr()
    assert "add_loss" in " ".join((captured.out + captured.err).split())
    assert len(model.losses) == 1, "the model that came in keeps it"
