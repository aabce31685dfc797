"""Students of other inputs, of another make, and shrunk ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import first_rows, keras_scores, same_weights

import tfshop as ts
from compression.distillation import LAST, TINY, foreign_student
from tfshop._keras import keras
from tfshop.compression import Candidate, Distill
from tfshop.data.binding import bind
from tfshop.errors import PlanError
from tfshop.export import Export, Plan
from tfshop.stepping import gentler, smaller
from tfshop.training.inputs import model_specs


@pytest.mark.parametrize("hints", [{}, {"dense_1": "hidden"}])
def test_a_student_of_other_inputs_and_another_make_learns(hints, trained_dcn, clicks):
    keras.utils.set_random_seed(0)
    student = foreign_student(clicks)
    before = student.get_weights()
    step = Distill(student, weight=1.0, epochs=3, learning_rate=1e-2, hints=hints)
    step.check(trained_dcn, clicks.schema)
    after = step.apply(Candidate(trained_dcn, clicks.schema), clicks, seed=0)
    assert same_weights(student, before) and not same_weights(student, after.model)
    assert {tensor.name for tensor in after.model.inputs} == {"id_0", "number_0"}
    assert after.history[-1].notes["fit"]["epochs"][-1]["validation_auc"] > 0.6


@pytest.mark.parametrize("family", ["mlp", "dcn", "deepfm"])
def test_a_student_of_ours_reads_fewer_features_by_name(family, trained_dcn, clicks):
    step = Distill(TINY, family=family, epochs=2, learning_rate=1e-2, features=("id_0", "id_2", "number_1"), hints=LAST)
    step.check(trained_dcn, clicks.schema)
    after = step.apply(Candidate(trained_dcn, clicks.schema), clicks, seed=0)
    assert {t.name: t.shape.as_list() for t in after.model.inputs} == {
        "id_0": [None, 1],
        "id_2": [None, 1],
        "number_1": [None, 1],
    }
    rows = sum(clicks.schema.tables[name] for name in ("id_0", "id_2"))
    assert after.model.get_layer("table").input_dim == rows and "logit" in {one.name for one in after.model.layers}
    assert after.history[-1].notes["fit"]["epochs"][-1]["validation_auc"] > 0.6
    rows = bind(first_rows(clicks.test.inputs, 200), clicks.schema, model_specs(after.model))
    scores = ts.Scorer(Export("float32").to_bytes(after.model, clicks))(rows)
    np.testing.assert_allclose(scores, keras_scores(after.model, rows), atol=1e-5)


def test_features_need_a_student_by_hyperparameters(trained_mlp, clicks):
    with pytest.raises(PlanError, match="Expected no shrink and no model beside them"):
        Distill(shrink={"width": 0.5}, features=("id_0",))
    with pytest.raises(PlanError, match=r"features name colour, which the schema has not. Expected some of id_0"):
        Distill(TINY, features=("colour",)).check(trained_mlp, clicks.schema)


def test_the_whole_way_from_a_shrunk_student_to_a_file(
    trained: Callable[[str], Any], exported: Callable[[str, str], bytes], clicks, brief
):
    step = Distill(shrink={"width": 0.5, "dimension": 4}, epochs=1, hints=LAST, warm_start=True)
    plan = ts.chain(step, ts.Export("float32"))
    teacher = trained("deepfm")
    plan.check(teacher, clicks.schema)
    after = step.apply(Candidate(teacher, clicks.schema), brief, seed=0)
    content = plan.exporter.to_bytes(after.model, clicks)
    assert len(content) < 0.7 * len(exported("deepfm", "float32"))
    rows = first_rows(clicks.test.inputs, 100)
    np.testing.assert_allclose(ts.Scorer(content)(rows), keras_scores(after.model, rows), atol=1e-5)


def test_retries_make_a_shrunk_student_wider_or_narrower_and_leave_a_given_one(clicks):
    def student(plan: Plan | None) -> Any:
        return None if plan is None or not isinstance(plan.passes[0], Distill) else plan.passes[0].shrink

    plan = ts.chain(Distill(shrink={"width": 0.25, "dimension": 8}), ts.Export("int8"))
    assert student(gentler(plan)) == {"width": 0.5, "dimension": 8}
    assert student(smaller(plan)) == {"width": 0.125, "dimension": 4}
    given = ts.chain(Distill(foreign_student(clicks)), ts.Export("int8"))
    assert smaller(given) is None
    milder = gentler(given)
    assert milder is not None and milder.passes[0] == given.passes[0]
