"""Students of other inputs, of another make, and shrunk ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import first_rows, keras_scores, same_weights

import tfshop as ts
from compression.distillation import LAST, TINY, foreign_student
from tfshop._keras import keras
from tfshop.compression import Candidate, Distill
from tfshop.compression.effects import input_columns
from tfshop.compression.warm_start import warm_start
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


def with_another(inputs: dict[str, Any], name: str, schema: Any) -> dict[str, Any]:
    """The rows with other values of a feature."""
    changed = {**inputs}
    for key, columns in input_columns(schema, [name]).items():
        values = changed[key].copy()
        values[:, columns] = 0 if key == "numeric" else 1 - np.minimum(values[:, columns], 1)
        changed[key] = values
    return changed


@pytest.mark.parametrize("student", [{"shrink": {"width": 0.5, "dimension": 4}}, {"student": TINY, "family": "mlp"}])
@pytest.mark.parametrize("gone", [("hist_id_0",), ("id_1", "number_1")])
def test_a_student_does_without_features_and_is_fed_as_before(student, gone, trained_dcn, clicks, brief):
    step = Distill(**student, without=gone, epochs=1, learning_rate=1e-2, warm_start=True)
    ts.chain(step, Export("float32")).check(trained_dcn, clicks.schema)
    after = step.apply(Candidate(trained_dcn, clicks.schema), brief, seed=0)
    made = after.model
    assert [tensor.name for tensor in made.inputs] == [tensor.name for tensor in trained_dcn.inputs]
    whole = replace(step, without=()).student_model(trained_dcn, clicks.schema)
    assert made.count_params() < whole.count_params()
    filled = {*warm_start(whole, trained_dcn, brief.train)} & {layer.name for layer in made.layers}
    assert set(after.history[-1].notes["warm_start"]) == filled and "table" in filled
    rows = first_rows(clicks.test.inputs, 200)
    scores = keras_scores(made, rows)
    for feature in clicks.schema.features:
        same = np.allclose(keras_scores(made, with_another(rows, feature.name, clicks.schema)), scores, atol=1e-7)
        assert same == (feature.name in gone), feature.name
    np.testing.assert_allclose(ts.Scorer(Export("float32").to_bytes(made, clicks))(rows), scores, atol=1e-5)


def test_without_names_features_of_the_schema_beside_no_list_of_them(trained_mlp, clicks):
    with pytest.raises(PlanError, match="given features and without"):
        Distill(TINY, features=("id_0",), without=("id_1",))
    with pytest.raises(PlanError, match="Expected names of features"):
        Distill(TINY, without="id_1")
    with pytest.raises(PlanError, match="Expected names of features"):
        Distill(TINY, without=(name for name in ("id_1",)))
    with pytest.raises(PlanError, match=r"Distill is to drop 'colour', .*Expected some of id_0"):
        Distill(TINY, without=("colour",)).check(trained_mlp, clicks.schema)


def test_a_model_that_never_read_a_feature_does_without_it(trained_mlp, clicks):
    student = foreign_student(clicks)
    step = Distill(student, without=("id_2",), epochs=1)
    step.check(trained_mlp, clicks.schema)
    assert same_weights(step.student_model(trained_mlp, clicks.schema), student)


@pytest.mark.parametrize("fewer", [{"without": ("id_1",)}, {"features": ("id_0",)}])
def test_a_later_student_may_not_read_again_what_an_earlier_does_without(fewer):
    with pytest.raises(PlanError, match=r"step 2 \(Distill\) comes after Distill and would undo"):
        ts.chain(Distill(TINY, family="mlp", **fewer), Distill(TINY, family="mlp"))
    assert len(ts.chain(Distill(TINY, family="mlp"), Distill(TINY, family="mlp", **fewer)).passes) == 2


def test_retries_widen_tables_and_give_features_back_where_towers_are_wide_enough():
    def missed(width: int) -> Any:
        return lambda plan: isinstance(plan.passes[0], Distill) and plan.passes[0].shrink["width"] == width

    plan = ts.chain(Distill(shrink={"width": 48, "dimension": 8}, without=("a", "b")), Export("int8"))
    tables = gentler(plan, missed(48))
    assert tables.passes[0].shrink == {"width": 48, "dimension": 16} and tables.passes[0].without == ("a", "b")
    fuller = gentler(plan, lambda other: missed(48)(other) and other.passes[0].shrink["dimension"] == 8)
    assert fuller.passes[0].without == ("a",)


def test_tables_bound_to_a_fixed_width_are_refused_beside_other_sizes(kinds):
    ids, image = keras.Input((1,), dtype="int32", name="id_0"), keras.Input((6,), name="image")
    product = keras.layers.Multiply()([keras.layers.Flatten()(keras.layers.Embedding(101, 6)(ids)), image])
    output = keras.layers.Dense(1, activation="sigmoid")(keras.layers.Dense(16, activation="relu")(product))
    model = keras.Model([ids, image], output)
    with pytest.raises(PlanError, match="cannot shrink in dimension"):
        ts.shrink(model, width=8, dimension=4)
    assert ts.shrink(model, width=8).layers[-2].units == 8


def test_fast_reads_ids_as_unknown_and_asks_no_table_of_a_network_that_has_none(kinds):
    plan = ts.recipes.fast(width=8, without=("number_1",))
    assert plan.passes[0].unknown_ids and Plan.from_json(plan.to_json()) == plan
    schema = kinds["numerics"].schema
    plan.check(ts.build_model("mlp", schema, hidden=(32, 16)), schema)
    with pytest.raises(PlanError, match="cannot shrink in dimension"):
        ts.shrink(ts.build_model("mlp", schema, hidden=(32, 16)), width=8, dimension=0.5)


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
