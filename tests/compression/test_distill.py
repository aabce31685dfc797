"""A student learns from its teacher's scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import first_rows, keras_scores
from sklearn.metrics import roc_auc_score

from tfshop.compression import Candidate, Distill
from tfshop.compression.teacher_scores import soft_targets
from tfshop.data import Splits
from tfshop.errors import PlanError
from tfshop.training import predict

STUDENT = {"dimension": 4, "hidden": (16,)}


@pytest.fixture(scope="module")
def distilled(trained_dcn: Any, clicks: Splits) -> Candidate:
    """A student that hears its teacher alone."""
    step = Distill({**STUDENT, "num_crosses": 1}, weight=1.0, epochs=4, learning_rate=1e-2)
    return step.apply(Candidate(trained_dcn, clicks.schema), clicks, seed=0)


def test_soft_targets_hold_the_label_and_the_teachers_logit(trained_mlp: Any, clicks: Splits) -> None:
    part = clicks.train.take(200)
    targets = soft_targets([trained_mlp], part)
    assert targets.labels.shape == (200, 2) and targets.labels.dtype == np.float32
    np.testing.assert_array_equal(targets.labels[:, 0], part.labels)
    scores = keras_scores(trained_mlp, part.inputs)
    np.testing.assert_allclose(1 / (1 + np.exp(-targets.labels[:, 1])), scores, atol=1e-5)
    assert targets.inputs is not None and targets.inputs["ids"] is part.inputs["ids"]


def test_the_student_is_smaller_and_of_the_family_of_its_teacher(distilled: Candidate, trained_dcn: Any) -> None:
    notes = distilled.history[-1].notes
    assert distilled.model.name == "dcn" and distilled.model.get_layer("table").output_dim == 4
    assert notes["student_parameters"] == distilled.model.count_params() < trained_dcn.count_params() / 2
    assert notes["teacher_parameters"] == trained_dcn.count_params()


def test_the_student_says_what_its_teacher_says(distilled: Candidate, trained_dcn: Any, clicks: Splits) -> None:
    rows = first_rows(clicks.train.inputs, 2000)
    student, teacher = keras_scores(distilled.model, rows), keras_scores(trained_dcn, rows)
    assert np.corrcoef(student, teacher)[0, 1] > 0.9
    assert roc_auc_score(clicks.validation.labels, predict(distilled.model, clicks.validation)) > 0.7


def test_the_curve_tells_the_students_own_figures(distilled: Candidate, clicks: Splits) -> None:
    """Training was on logits; the figures are of probabilities, and those of the epoch that was kept."""
    fit = distilled.history[-1].notes["fit"]
    best = fit["epochs"][fit["kept_epoch"] - 1]
    found = roc_auc_score(clicks.validation.labels, predict(distilled.model, clicks.validation))
    assert found == pytest.approx(best["validation_auc"], abs=1e-5)
    assert 0.2 < best["validation_log_loss"] < 0.8


def test_another_family_can_be_named(trained_dcn: Any, clicks: Splits) -> None:
    Distill(STUDENT, family="mlp").check(trained_dcn, clicks.schema)
    brief = clicks.__class__(clicks.train.take(256), clicks.validation, clicks.test, clicks.schema)
    result = Distill(STUDENT, family="mlp", epochs=1).apply(Candidate(trained_dcn, clicks.schema), brief, seed=0)
    assert result.model.name == "mlp"


@pytest.mark.parametrize("student", [{"hiden": (8,)}, {"hidden": ()}, {"num_crosses": 2}])
def test_a_student_that_cannot_be_built_is_refused_before_training(
    student: dict[str, Any], trained_mlp: Any, clicks: Splits
) -> None:
    with pytest.raises(PlanError, match=r"hidden is|no hyperparameter"):
        Distill(student).check(trained_mlp, clicks.schema)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": 1.1}, r"weight is 1.1. Expected a share in \[0, 1\]"),
        ({"weight": -0.1}, "weight is -0.1"),
        ({"temperature": 0.0}, "temperature is 0.0. Expected a number above 0"),
    ],
)
def test_settings_out_of_range_are_refused_at_construction(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Distill(**settings)
