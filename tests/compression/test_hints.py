"""Hidden layers of the student follow those of the teacher, and a warm start saves time."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from helpers import same_weights

from compression.distillation import LAST, TINY, foreign_student, hints_of
from tfshop.compression import Candidate, Distill

BOTH = Distill(TINY, epochs=4, hints={"last hidden": "last hidden", "dense_0": "dense_0"}, hint_weight=3.0)


@pytest.fixture(scope="module")
def hinted(trained_mlp, clicks):
    """Weights and flags of the teacher before, and its student after hints from two layers."""
    before = trained_mlp.get_weights(), [layer.trainable for layer in trained_mlp.layers]
    return *before, BOTH.apply(Candidate(trained_mlp, clicks.schema), clicks, seed=0)


def test_hidden_layers_of_the_student_near_those_of_the_teacher(hinted, trained_mlp, clicks):
    """Through a projection, which is gone afterwards, and more than without a weight to speak of."""
    *_, after = hinted
    candidate = Candidate(trained_mlp, clicks.schema)
    pairs = [("dense_1", "dense_0_relu"), ("dense_0", "dense_0")]
    assert [(told["teacher"], told["student"]) for told in hints_of(after)] == pairs
    assert all(told["epochs"][-1] < 0.6 * told["first"] for told in hints_of(after))
    idle = hints_of(replace(BOTH, hint_weight=1e-9).apply(candidate, clicks, seed=0))
    assert hints_of(after)[0]["epochs"][-1] < 0.7 * idle[0]["epochs"][-1]
    plain = Distill(TINY, epochs=4).student_model(trained_mlp, clicks.schema)
    assert [w.shape for w in after.model.weights] == [w.shape for w in plain.weights]
    assert {tensor.name for tensor in after.model.inputs} == {tensor.name for tensor in trained_mlp.inputs}
    json.dumps(after.history[-1].to_dict(), allow_nan=False)


def test_hints_leave_the_teacher_as_it_is(hinted, trained_mlp):
    before, flags, _ = hinted
    assert same_weights(trained_mlp, before) and [layer.trainable for layer in trained_mlp.layers] == flags


def test_a_student_with_hints_and_a_warm_start_is_the_same_for_the_same_seed(trained_mlp, fresh):
    step = Distill(shrink={"width": 0.5, "dimension": 4}, epochs=1, hints=LAST, warm_start=True)
    one, other = (step.apply(Candidate(trained_mlp, fresh.schema), fresh, seed=2) for _ in range(2))
    assert same_weights(one.model, other.model)
    assert one.model.get_layer("dense_0").units == 32 and "dense_0" in one.history[-1].notes["warm_start"]


def test_a_warm_student_is_better_after_a_short_training(trained_mlp, fresh):
    found = {}
    for warm in (True, False):
        step = Distill(shrink={"width": 0.5}, epochs=1, learning_rate=1e-4, warm_start=warm)
        after = step.apply(Candidate(trained_mlp, fresh.schema), fresh, seed=0)
        found[warm] = after.history[-1].notes["fit"]["epochs"][0]["validation_auc"]
    assert found[True] > found[False] + 0.05


def test_a_teacher_with_other_inputs_teaches_one_of_ours(clicks, fresh):
    teacher = foreign_student(clicks)
    step = Distill(TINY, family="mlp", epochs=1, hints={"hidden": "dense_0"})
    after = step.apply(Candidate(teacher, fresh.schema), fresh, seed=0)
    assert set(after.model.input_names) == {"ids", "numeric", "hist_id_0"}
    assert hints_of(after)[0]["epochs"][0] > 0
