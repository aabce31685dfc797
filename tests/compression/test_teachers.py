"""Several teachers, hidden layers, and scores that are computed once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import first_rows, keras_scores, same_weights

import tfshop as ts
from tfshop._keras import keras, tf
from tfshop.compression import Candidate, Distill, teacher_scores
from tfshop.compression.teacher_scores import soft_targets
from tfshop.data import Splits
from tfshop.data.binding import bind
from tfshop.errors import PlanError
from tfshop.export import Export, Plan
from tfshop.models import build_model
from tfshop.models.rebuild import rebuild
from tfshop.stepping import gentler, smaller
from tfshop.training.fingerprint import digest_of_rows, digest_of_weights
from tfshop.training.inputs import model_specs

TINY = {"dimension": 4, "hidden": (16,)}
LAST = {"last hidden": "last hidden"}


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the teachers, each time one scores."""
    names: list[str] = []
    score = teacher_scores.predict

    def counted(model: Any, *args: Any, **kwargs: Any) -> Any:
        names.append(model.name)
        return score(model, *args, **kwargs)

    monkeypatch.setattr(teacher_scores, "predict", counted)
    return names


@pytest.fixture
def fresh(brief: Splits) -> Splits:
    """The same rows in a split that nobody has scored."""
    return replace(brief, train=replace(brief.train))


def logits(scores: np.ndarray) -> np.ndarray:
    return np.log(scores) - np.log1p(-scores)


@pytest.mark.parametrize("averages", ["logits", "probabilities"])
def test_teachers_are_averaged(averages, trained_mlp, trained_dcn, fresh):
    rows = fresh.train.take(200)
    targets = soft_targets([trained_mlp, trained_dcn], rows, averages=averages).labels
    one, other = (keras_scores(model, rows.inputs).astype(np.float64) for model in (trained_mlp, trained_dcn))
    mean = (logits(one) + logits(other)) / 2 if averages == "logits" else logits((one + other) / 2)
    np.testing.assert_allclose(targets[:, 1], mean, atol=1e-4)
    assert targets.dtype == np.float32 and targets.flags.c_contiguous
    assert np.abs(soft_targets([trained_mlp], rows).labels[:, 1] - targets[:, 1]).max() > 0.05


def test_certain_teachers_give_finite_logits(fresh):
    ids = keras.Input((len(fresh.schema.id_columns),), dtype="int32", name="ids")
    certain = keras.layers.Lambda(lambda x: keras.backend.cast(x[:, :1] * 0 + 1, "float32"))(ids)
    model = keras.Model(ids, certain, name="certain")
    for averages in ("logits", "probabilities"):
        found = soft_targets([model] * 3, fresh.train.take(50), averages=averages).labels
        assert np.isfinite(found).all() and found[0, 1] > 10


def test_a_teacher_scores_once_over_passes_and_retries(trained_mlp, fresh, scored):
    step, candidate = Distill(TINY, epochs=1), Candidate(trained_mlp, fresh.schema)
    first = step.apply(candidate, fresh, seed=0)
    assert scored == ["mlp"]
    again = Distill(TINY, epochs=1, temperature=2.0).apply(candidate, fresh, seed=0)
    assert scored == ["mlp"] and not same_weights(first.model, again.model)
    step.apply(candidate, replace(fresh, train=fresh.train.take(500)), seed=0)
    assert scored == ["mlp", "mlp"], "other rows are scored"
    changed = rebuild(trained_mlp)
    changed.get_layer("logit").set_weights([weight + 0.1 for weight in changed.get_layer("logit").get_weights()])
    step.apply(Candidate(changed, fresh.schema), fresh, seed=0)
    assert len(scored) == 3, "other weights score anew"


def test_scores_are_kept_on_disk_between_runs(trained_mlp, fresh, scored, tmp_path):
    first = soft_targets([trained_mlp], fresh.train, folder=tmp_path / "scores").labels
    (file,) = (tmp_path / "scores").iterdir()
    assert file.stat().st_size < 4 * fresh.train.num_rows + 200, "float32"
    later = replace(fresh.train)  # as another run would come
    np.testing.assert_array_equal(soft_targets([trained_mlp], later, folder=tmp_path / "scores").labels, first)
    assert scored == ["mlp"]
    file.write_bytes(file.read_bytes()[:100])
    np.testing.assert_array_equal(
        soft_targets([trained_mlp], replace(fresh.train), folder=tmp_path / "scores").labels, first
    )
    assert scored == ["mlp", "mlp"], "half a file is no scores"


def test_digests_follow_every_weight_and_every_row(trained_mlp, brief):
    changed = rebuild(trained_mlp)
    assert digest_of_weights(changed) == digest_of_weights(trained_mlp)
    kernel, bias = changed.get_layer("dense_1").get_weights()
    bias[-1] += 1e-6
    changed.get_layer("dense_1").set_weights([kernel, bias])
    assert digest_of_weights(changed) != digest_of_weights(trained_mlp)
    ids = brief.train.inputs["ids"].copy()
    ids[-1, -1] ^= 1
    other = replace(brief.train, inputs={**brief.train.inputs, "ids": ids})
    assert digest_of_rows(other) != digest_of_rows(brief.train) == digest_of_rows(replace(brief.train))


def test_an_ensemble_teaches_something_else_than_one(trained_mlp, trained_dcn, fresh, tmp_path):
    candidate = Candidate(trained_mlp, fresh.schema)
    trained_dcn.save(tmp_path / "second.keras")
    alone = Distill(TINY, epochs=1).apply(candidate, fresh, seed=0)
    given, named = (
        Distill(TINY, epochs=1, teachers=teachers).apply(candidate, fresh, seed=0)
        for teachers in ((trained_dcn,), (str(tmp_path / "second.keras"),))
    )
    assert given.history[-1].notes["teachers"] == named.history[-1].notes["teachers"] == 2
    assert same_weights(given.model, named.model) and not same_weights(given.model, alone.model)


def test_models_in_memory_are_no_json_and_paths_are(trained_mlp, tmp_path):
    held = ts.chain(Distill(TINY, teachers=(trained_mlp,)), ts.Export("int8"))
    with pytest.raises(PlanError, match=r"teachers=<model 'mlp'>\) is a model in memory.*save it, and give its path"):
        held.to_json()
    assert held.to_dict(functions_by_name=True)["passes"][0]["teachers"] == ["<model 'mlp'>"]
    assert "teachers=(<model 'mlp'>,)" in str(held)
    named = ts.chain(Distill(shrink={"width": 0.5}, teachers=("a.keras",), hints=LAST), ts.Export("int8"))
    assert Plan.from_json(named.to_json()) == named


def hints_of(candidate: Candidate) -> list[dict[str, Any]]:
    return candidate.history[-1].notes["hints"]


def test_hidden_layers_of_the_student_near_those_of_the_teacher(trained_mlp, clicks):
    """Through a projection, which is gone afterwards, and more than without a weight to speak of."""
    candidate = Candidate(trained_mlp, clicks.schema)
    step = Distill(TINY, epochs=4, hints={"last hidden": "last hidden", "dense_0": "dense_0"}, hint_weight=3.0)
    after = step.apply(candidate, clicks, seed=0)
    pairs = [("dense_1", "dense_0_relu"), ("dense_0", "dense_0")]
    assert [(told["teacher"], told["student"]) for told in hints_of(after)] == pairs
    assert all(told["epochs"][-1] < 0.6 * told["first"] for told in hints_of(after))
    idle = hints_of(replace(step, hint_weight=1e-9).apply(candidate, clicks, seed=0))
    assert hints_of(after)[0]["epochs"][-1] < 0.7 * idle[0]["epochs"][-1]
    plain = Distill(TINY, epochs=4).student_model(trained_mlp, clicks.schema)
    assert [w.shape for w in after.model.weights] == [w.shape for w in plain.weights]
    assert {tensor.name for tensor in after.model.inputs} == {tensor.name for tensor in trained_mlp.inputs}
    json.dumps(after.history[-1].to_dict(), allow_nan=False)


def test_hints_leave_the_teacher_as_it_is(trained_mlp, fresh):
    before = trained_mlp.get_weights()
    flags = [layer.trainable for layer in trained_mlp.layers]
    Distill(TINY, epochs=1, hints="last hidden").apply(Candidate(trained_mlp, fresh.schema), fresh, seed=0)
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


def foreign_student(data: Splits) -> Any:
    """Reads two of the features, one input each."""
    first, number = keras.Input((1,), dtype="int32", name="id_0"), keras.Input((1,), name="number_0")
    row = keras.layers.Flatten()(keras.layers.Embedding(data.schema.tables["id_0"], 4)(first))
    clean = tf.where(tf.math.is_nan(number), 0.0, number)
    hidden = keras.layers.Dense(8, activation="relu", name="hidden")(keras.layers.Concatenate()([row, clean]))
    return keras.Model([first, number], keras.layers.Dense(1, activation="sigmoid")(hidden), name="own")


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


def test_a_teacher_with_other_inputs_teaches_one_of_ours(clicks, fresh):
    teacher = foreign_student(clicks)
    step = Distill(TINY, family="mlp", epochs=1, hints={"hidden": "dense_0"})
    after = step.apply(Candidate(teacher, fresh.schema), fresh, seed=0)
    assert set(after.model.input_names) == {"ids", "numeric", "hist_id_0"}
    assert hints_of(after)[0]["epochs"][0] > 0


def test_several_targets_are_taught_by_several_teachers_with_hints(trained_several, two_targets):
    other = build_model("mmoe", two_targets.schema, dimension=4, hidden=(8,), heads=(8,), num_experts=2)
    student = {"dimension": 2, "hidden": (8,), "heads": (4,)}
    step = Distill(student, epochs=1, teachers=(other,), hints=LAST, warm_start=True)
    step.check(trained_several, two_targets.schema)
    after = step.apply(Candidate(trained_several, two_targets.schema), two_targets, seed=0)
    assert after.model.output_names == ["probability_clicked", "probability_bought"]
    assert after.history[-1].notes["teachers"] == 2 and len(hints_of(after)[0]["epochs"]) == 1
    targets = soft_targets([trained_several, other], two_targets.train)
    assert targets.labels.shape == (two_targets.train.num_rows, 2, 2)


def test_the_whole_way_from_a_shrunk_student_to_a_file(trained: Callable[[str], Any], clicks, brief):
    step = Distill(shrink={"width": 0.5, "dimension": 4}, epochs=1, hints=LAST, warm_start=True)
    plan = ts.chain(step, ts.Export("float32"))
    teacher = trained("deepfm")
    plan.check(teacher, clicks.schema)
    after = step.apply(Candidate(teacher, clicks.schema), brief, seed=0)
    content, whole = (plan.exporter.to_bytes(model, clicks) for model in (after.model, teacher))
    assert len(content) < 0.7 * len(whole)
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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"student": 3}, "student is 3. Expected hyperparameters by name, a functional model, or the path"),
        ({"teachers": (3,)}, "teachers hold 3. Expected functional tf_keras models, or paths"),
        ({"averages": "votes"}, "averages is 'votes'. Expected one of logits, probabilities"),
        ({"hints": 3}, "hints is 3. Expected layers of the teacher to layers of the student"),
        ({"hint_weight": 0}, "hint_weight is 0. Expected a number above 0"),
        ({"shrink": {"hidden": 3}}, "shrink has no hidden. Expected width, depth, dimension"),
        ({"shrink": {"width": 0.5}, "student": TINY}, "given a student and shrink. Expected one"),
    ],
)
def test_settings_that_say_nothing_are_refused_at_construction(settings, message):
    with pytest.raises(PlanError, match=message):
        Distill(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hints": {"dense_9": "last hidden"}}, "hints name 'dense_9', which is no layer of the teacher 'mlp'"),
        ({"hints": {"last hidden": "ids"}}, "which is no layer of the student"),
        ({"teachers": ("nowhere.keras",)}, "cannot use its teacher 'nowhere.keras': nowhere.keras does not exist"),
        ({"student": "nowhere.keras"}, "cannot use its student"),
        ({"shrink": {"width": 10_000}}, "is no larger than"),
    ],
)
def test_what_cannot_be_taught_is_refused_before_training(settings, message, trained_mlp, clicks):
    with pytest.raises(PlanError, match=message):
        Distill(**settings).check(trained_mlp, clicks.schema)


def test_models_that_the_schema_cannot_feed_are_refused(trained_mlp, clicks):
    x = keras.Input((1,), name="unheard_of")
    stranger = keras.Model(x, keras.layers.Dense(1, activation="sigmoid")(x), name="stranger")
    for settings in ({"teachers": (stranger,)}, {"student": stranger}):
        with pytest.raises(PlanError, match=r"'stranger'.*'unheard_of'"):
            Distill(**settings).check(trained_mlp, clicks.schema)
