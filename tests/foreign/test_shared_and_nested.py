"""Networks in which a layer or a tower is called twice, or stands inside another network."""

from __future__ import annotations

import pytest
from helpers import keras_scores

import tfshop as ts
from tfshop.data.binding import bind
from tfshop.models.rebuild import inlined
from tfshop.training.inputs import model_specs

from .checks import AT_ONCE, RISING, check_exports, check_passes

TREATED = {
    "shared_layers": ("tower", "second"),
    "shared_tower": ("tower/inner", "tower/outer", "second"),
    "nested": ("middle/inner/first", "middle/inner/second", "middle/first", "first", "head/first"),
    "two_inputs_a_submodel": ("first",),
}
TRAINED = ("shared_tower", "nested")  # with zeros that grow; QAT trains all of them
each_style = pytest.mark.parametrize("style", TREATED)


@each_style
def test_passes_reach_layers_of_submodels_and_leave_the_rest(style, network, log):
    check_passes(network(style), log, TREATED[style], prune=RISING if style in TRAINED else AT_ONCE)


@each_style
def test_every_mode_gives_a_file_that_agrees(style, network, log):
    check_exports(network(style), log)


@each_style
def test_an_inlined_network_scores_the_same_and_shares_what_was_shared(style, network, log):
    model = network(style)
    flat = inlined(model)
    rows = bind(log.test.inputs, log.schema, model_specs(model))
    assert abs(keras_scores(model, rows) - keras_scores(flat, rows)).max() < 1e-6
    assert flat.count_params() == model.count_params() and flat.output_names == model.output_names


@pytest.mark.usefixtures("brief_timing")
def test_a_nested_network_goes_the_whole_way(network, log, capsys):
    result = ts.compress(network("nested"), log, ts.chain(AT_ONCE, ts.QAT(), ts.Export("int8", 512)))
    assert result.artifact.verify() == 0
    assert result.evaluation.auc_difference_test.difference > -0.05
    assert "named by their path" in capsys.readouterr().err


@pytest.mark.usefixtures("brief_timing")
def test_a_student_of_our_own_learns_from_a_nested_teacher(network, log):
    plan = ts.chain(ts.Distill({"dimension": 2, "hidden": (8,)}, family="mlp", epochs=1), ts.Export("float32"))
    result = ts.compress(network("nested"), log, plan)
    assert set(result.artifact.golden.inputs) == {"ids", "numeric"} and result.left_alone == ()
