"""The whole way: a plan, a file, its figures beside the baseline's, and what happens where a limit is missed."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import apply_once, first_rows, keras_scores, same_weights

import tfshop as ts
from tfshop._keras import keras
from tfshop.compression import Candidate
from tfshop.compression.rebuild import copy_model
from tfshop.data import Splits
from tfshop.errors import AuditError, LimitError, ModelError, PlanError
from tfshop.evaluation.measured import Measured
from tfshop.pipeline import Goal, _plans, pursue
from tfshop.result import Result, plan_name
from tfshop.runtime import count_zeros

pytestmark = pytest.mark.usefixtures("brief_timing")


def quick_goal(baseline: Measured, **limits: float) -> Goal:
    """Without timing and without measuring the baseline again."""
    return Goal(limits=limits, retry=True, baseline=baseline, timed=False)


def test_a_file_within_its_limits_says_so(result: Result) -> None:
    assert result.met and result.missed == () and result.attempts == ()
    assert result.limits == {"max_auc_drop": 0.02, "max_size_bytes": 30_000}
    assert result.evaluation.name == "int8" and "limit missed" not in str(result)
    assert result.evaluation.size_bytes == len(result.measured.content) < result.baseline.evaluation.size_bytes
    assert result.evaluation.auc_difference_validation is not None
    assert any("audit passed" in note for note in result.evaluation.notes)


def test_the_model_that_came_in_is_left_as_it_is(trained_mlp: Any, clicks: Splits, baseline: Measured) -> None:
    before = trained_mlp.get_weights()
    pursue(trained_mlp, clicks, ts.chain(ts.Prune(0.5), ts.Export("float16")), Goal(baseline=baseline, timed=False))
    assert same_weights(before, trained_mlp)


def test_a_missed_limit_is_said_with_how_much(trained_mlp: Any, clicks: Splits, baseline: Measured) -> None:
    goal = Goal(limits={"max_auc_drop": 1e-9, "max_size_bytes": 20_000}, baseline=baseline, timed=False)
    result = pursue(trained_mlp, clicks, ts.chain(ts.Export("int8")), goal)
    low = result.evaluation.auc_difference_validation.low
    assert not result.met and len(result.missed) == 2
    assert f"the lower end on validation is {low:+.4f}" in result.missed[0]
    assert f"{result.evaluation.size_bytes:,}" in result.missed[1] and "too many" in result.missed[1]


def test_limits_are_judged_on_the_lower_end_of_validation(trained_mlp: Any, clicks: Splits, baseline: Measured) -> None:
    """A hair looser than what was found is met, a hair tighter is missed."""
    plan = ts.chain(ts.Export("int8"))
    found = pursue(trained_mlp, clicks, plan, Goal(baseline=baseline, timed=False)).evaluation
    low = found.auc_difference_validation.low
    assert low < 0 and low != pytest.approx(found.auc_difference_test.low, abs=1e-6)
    for factor, met in ((1.001, True), (0.999, False)):
        goal = Goal(limits={"max_auc_drop": -low * factor}, baseline=baseline, timed=False)
        assert pursue(trained_mlp, clicks, plan, goal).met is met


def test_retry_steps_back_until_the_limits_are_met(
    trained_mlp: Any, brief: Splits, baseline: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is planted between what a sparsity of 0.95 loses and what the next gentler one does."""
    apply_once(monkeypatch, ts.Prune)

    def loss(sparsity: float) -> float:
        plan = ts.chain(ts.Prune(sparsity, learning_rate=1e-6), ts.Export("float16"))
        found = pursue(trained_mlp, brief, plan, Goal(baseline=baseline, timed=False))
        return -found.evaluation.auc_difference_validation.low

    much, less = loss(0.95), loss(0.75)
    assert much > 1.2 * less > 0
    goal = quick_goal(baseline, max_auc_drop=1.1 * less)
    result = pursue(trained_mlp, brief, ts.chain(ts.Prune(0.95, learning_rate=1e-6), ts.Export("float16")), goal)
    assert result.met and result.plan == ts.chain(ts.Prune(0.75, learning_rate=1e-6), ts.Export("float16"))
    assert len(result.attempts) == 2
    assert "0.95" in result.attempts[0] and "max_auc_drop" in result.attempts[0]
    assert result.attempts[1].endswith("within the limits")
    assert [record.settings["sparsity"] for record in result.candidate.history] == [0.75]


def test_retry_takes_a_smaller_format_where_the_size_is_missed(
    trained_mlp: Any, clicks: Splits, baseline: Measured
) -> None:
    goal = quick_goal(baseline, max_size_bytes=int(0.62 * baseline.evaluation.size_bytes))
    result = pursue(trained_mlp, clicks, ts.chain(ts.Export("float32")), goal)
    assert result.met and result.plan.exporter.mode == "int8"
    assert result.evaluation.name == "int8" and len(result.attempts) == 3


def test_retries_of_the_smallest_recipe_give_tables_more_bytes_and_build_no_student_twice(
    trained_mlp: Any, clicks: Splits
) -> None:
    """64 units are all that the teacher has."""
    tried = []
    for attempt in _plans(ts.recipes.tiny(width=32, dimension=4), trained_mlp, clicks, retry=True):
        attempt.missed_quality = True
        student, tables, _ = attempt.plan.passes
        tried.append((student.shrink["width"], tables.max_bytes))
    assert tried == [(32, 0.045), (32, 0.09), (64, 0.09), (64, 0.18), (64, 0.36), (64, 0.72)]


def test_a_file_that_is_too_large_gets_coarser_tables_before_a_student(trained_mlp: Any, clicks: Splits) -> None:
    tried = []
    for attempt in _plans(ts.chain(ts.EncodeTables("Int8")), trained_mlp, clicks, retry=True):
        attempt.missed_size = True
        tried.append(
            [step.codec.name if isinstance(step, ts.EncodeTables) else step.name for step in attempt.plan.passes]
        )
    assert tried[:4] == [["Int8"], ["Int4"], ["Int2"], ["Distill", "Int2"]]


@pytest.fixture(scope="module")
def refusal(trained_mlp: Any, brief: Splits, baseline: Measured) -> LimitError:
    """What is raised where no file is small enough: the student is as narrow as can be already."""
    plan = ts.chain(ts.Distill({"dimension": 2, "hidden": (16,)}, epochs=1), ts.Export("float16"))
    with pytest.raises(LimitError) as caught:
        pursue(trained_mlp, brief, plan, quick_goal(baseline, max_size_bytes=10))
    return caught.value


def test_retry_gives_up_with_the_best_it_found(refusal: LimitError) -> None:
    assert isinstance(refusal.best, Result) and not refusal.best.met and len(refusal.best.missed) == 1
    assert re.search(r"no plan met the limits after [2-6] attempts", str(refusal))
    for words in ("too many", "Expected {'max_size_bytes': 10}", "Fix:"):
        assert words in str(refusal)


def test_the_closest_of_two_files_that_are_too_large_is_the_smaller(refusal: LimitError) -> None:
    assert refusal.best.plan.exporter.mode == "int8"


def test_retry_with_a_network_of_no_known_family_tries_students_of_the_same_make(clicks: Splits) -> None:
    """None of our families can be told from it, and it has no hidden layer: its table becomes narrower."""
    ids = keras.Input((3,), dtype="int32", name="ids")
    hidden = keras.layers.Flatten()(keras.layers.Embedding(200, 2, name="rows")(ids))
    model = keras.Model(ids, keras.layers.Dense(1, activation="sigmoid", name="score")(hidden), name="theirs")
    goal = Goal(limits={"max_size_bytes": 10}, retry=True, timed=False)
    with pytest.raises(LimitError, match=r"no plan met the limits after [2-6] attempts") as caught:
        pursue(model, clicks, ts.chain(ts.Export("int8")), goal)
    best = caught.value.best
    assert best.plan.passes[0].shrink is not None and best.plan.exporter == ts.Export("int8")
    assert best.candidate.model.name == "theirs" and best.candidate.model.get_layer("rows").output_dim == 1


def test_retry_where_no_student_can_be_built_ends_with_the_best_file_too(clicks: Splits) -> None:
    """A table of single numbers cannot become narrower: one step less to try, not an error of the plan given."""
    ids = keras.Input((3,), dtype="int32", name="ids")
    hidden = keras.layers.Flatten()(keras.layers.Embedding(200, 1)(ids))
    model = keras.Model(ids, keras.layers.Dense(1, activation="sigmoid", name="score")(hidden), name="theirs")
    goal = Goal(limits={"max_size_bytes": 10}, retry=True, timed=False)
    with pytest.raises(LimitError, match="no plan met the limits after 1 attempts") as caught:
        pursue(model, clicks, ts.chain(ts.Export("int8")), goal)
    assert caught.value.best.plan == ts.chain(ts.Export("int8"))


def test_a_file_the_audit_refuses_is_refused(trained_mlp: Any, clicks: Splits, baseline: Measured) -> None:
    """One large row, which no example asks for, leaves the others no level in int8; with `retry` float16 does."""
    model = copy_model(trained_mlp)
    rows = model.get_layer("table").get_weights()[0]
    rows[0] = 100.0
    model.get_layer("table").set_weights([rows])
    plan = ts.chain(ts.Export("dynamic"))
    with pytest.raises(AuditError, match=r"rows became zero.*Fix:"):
        pursue(model, clicks, plan, Goal(baseline=baseline, timed=False))
    result = pursue(model, clicks, plan, quick_goal(baseline, max_auc_drop=0.5))
    assert result.met and result.plan.exporter.mode == "float16"
    assert "refused by the audit" in result.attempts[0]


def test_where_the_audit_refuses_every_plan_there_is_no_best_one(trained_mlp: Any, clicks: Splits) -> None:
    """A row beyond what float16 can hold; there is nothing gentler than float16 to try."""
    model = copy_model(trained_mlp)
    rows = model.get_layer("table").get_weights()[0]
    rows[:] *= 1e6
    model.get_layer("table").set_weights([rows])
    with pytest.raises(LimitError, match=r"the audit refused the files of all 1 attempts.*Fix:") as caught:
        pursue(model, clicks, ts.chain(ts.Export("float16")), Goal(limits={"max_auc_drop": 0.5}, retry=True))
    assert caught.value.best is None and isinstance(caught.value.__cause__, AuditError)


def test_the_test_split_decides_nothing(trained_mlp: Any, brief: Splits, baseline: Measured) -> None:
    """Rows reversed and labels turned round in test: the same plan, weights, file and validation figures."""
    turned = replace(
        brief.test, inputs={name: v[::-1] for name, v in brief.test.inputs.items()}, labels=1 - brief.test.labels[::-1]
    )
    results = []
    for data, known in ((brief, baseline), (replace(brief, test=turned), None)):
        goal = Goal(limits={"max_auc_drop": 0.5}, retry=True, baseline=known, timed=False)
        results.append(pursue(trained_mlp, data, ts.chain(ts.QAT()), goal))
    one, other = results
    assert one.plan == other.plan and same_weights(one.candidate.model, other.candidate.model)
    assert one.evaluation.validation == other.evaluation.validation
    assert one.evaluation.test.threshold == other.evaluation.test.threshold
    assert one.evaluation.test.auc == pytest.approx(1 - other.evaluation.test.auc, abs=1e-6)


def test_a_plan_that_cannot_work_is_refused_before_anything_is_made(trained_mlp: Any, clicks: Splits) -> None:
    """There is no data to train on, and none is asked for."""
    nothing = Splits(None, None, None, clicks.schema)  # type: ignore[arg-type]
    with pytest.raises(PlanError, match=r"step 2 \(QAT\).*role cross"):
        ts.compress(trained_mlp, nothing, ts.chain(ts.Prune(0.5), ts.QAT(roles=("cross",))))
    with pytest.raises(PlanError, match=r"int8_io.*number_0"):
        ts.compress(trained_mlp, nothing, ts.chain(ts.Export("int8_io")))
    with pytest.raises(PlanError, match=r"plan is Prune.*Expected a Plan.*Fix:"):
        ts.compress(trained_mlp, nothing, ts.Prune(0.5))
    with pytest.raises(ModelError, match="is not a tf_keras model"):
        ts.compress("model", nothing, ts.chain())


@pytest.mark.parametrize(
    "limit", [{"max_auc_drop": 0.0}, {"max_auc_drop": -0.1}, {"max_size_bytes": 0}, {"max_auc_drop": float("nan")}]
)
def test_a_limit_that_makes_no_sense_is_refused(limit: dict[str, Any], trained_mlp: Any, clicks: Splits) -> None:
    with pytest.raises(PlanError, match=rf"{next(iter(limit))} is .*Expected a number above 0.*Fix:"):
        ts.compress(trained_mlp, clicks, ts.chain(), **limit)


def test_the_artifact_holds_the_plan_the_figures_and_the_history(
    trained_mlp: Any, clicks: Splits, baseline: Measured, tmp_path: Path
) -> None:
    plan = ts.chain(ts.Prune(0.8), ts.Export("int8"))
    result = pursue(trained_mlp, clicks, plan, Goal(name="mine", baseline=baseline, timed=False))
    zeros, size = count_zeros(result.measured.content)
    assert zeros / size >= 0.79
    assert any(
        note.startswith(f"{zeros / size:.1%} of the file's {size:,} dense weights are zero")
        for note in result.evaluation.notes
    )
    loaded = ts.Artifact.load(result.artifact.save(tmp_path / "mine"))
    assert loaded.model_bytes == result.measured.content and loaded.evaluation == result.evaluation
    assert loaded.plan == json.loads(plan.to_json()) and loaded.evaluation.name == "mine"
    assert [record["name"] for record in loaded.history] == ["Prune"]
    assert loaded.history[0]["notes"]["sparsity"] == pytest.approx(0.8, abs=0.01)
    assert loaded.schema == clicks.schema


def test_the_saved_model_has_the_names_and_scores_of_the_file(result: Result, clicks: Splits, tmp_path: Path) -> None:
    from tfshop._keras import tf

    result.save_model(tmp_path / "saved" / "mine")
    signature = tf.saved_model.load(str(tmp_path / "saved" / "mine")).signatures["serving_default"]
    assert set(signature.structured_input_signature[1]) == {"ids", "numeric", "hist_id_0"}
    rows = first_rows(clicks.validation.inputs, 20)
    scores = signature(**{name: tf.constant(values) for name, values in rows.items()})
    assert set(scores) == {"probability"}
    np.testing.assert_allclose(scores["probability"][:, 0], keras_scores(result.candidate.model, rows), atol=1e-6)
    assert [path.name for path in (tmp_path / "saved").iterdir()] == ["mine"]


def test_the_baseline_can_be_handed_over_too(result: Result, tmp_path: Path) -> None:
    loaded = ts.Artifact.load(result.baseline_artifact.save(tmp_path / "float32"))
    assert loaded.model_bytes == result.baseline.content and loaded.plan["exporter"]["mode"] == "float32"


def test_a_plan_has_a_name_made_of_its_steps() -> None:
    assert plan_name(ts.chain(ts.Prune(0.5), ts.QAT(), ts.Export("int8"))) == "prune_qat_int8"
    assert plan_name(ts.chain(ts.Export("float32"))) != "float32", "the baseline has that name"


def test_a_candidate_without_passes_has_no_history(result: Result, trained_mlp: Any) -> None:
    assert isinstance(result.candidate, Candidate) and result.candidate.history == ()
    assert result.candidate.model is trained_mlp
