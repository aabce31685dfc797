"""Several teachers, and scores that are computed once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import keras_scores, same_weights

import tfshop as ts
from compression.distillation import LAST, TINY, hints_of
from tfshop._keras import keras
from tfshop.compression import Candidate, Distill, teacher_scores
from tfshop.compression.teacher_scores import soft_targets
from tfshop.errors import PlanError
from tfshop.export import Plan
from tfshop.models import build_model
from tfshop.models.rebuild import rebuild
from tfshop.training.fingerprint import digest_of_rows, digest_of_weights


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
    soft_targets([trained_mlp], fresh.train.take(500))
    assert scored == ["mlp", "mlp"], "other rows are scored"
    changed = rebuild(trained_mlp)
    changed.get_layer("logit").set_weights([weight + 0.1 for weight in changed.get_layer("logit").get_weights()])
    soft_targets([changed], fresh.train)
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
