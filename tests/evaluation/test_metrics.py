"""Metrics against scikit-learn, and against the definition in plain loops where scikit-learn has none."""

from __future__ import annotations

import json
import time
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, log_loss, roc_auc_score

from tfshop.errors import DataError, ScoringError, TfshopError
from tfshop.evaluation import Metrics, best_threshold, grouped_auc, measure, tie_rate


def planted(num_rows: int, *, levels: int | None = None, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from the scores themselves, rounded to a number of levels where one is given."""
    rng = np.random.default_rng(seed)
    scores = rng.beta(1, 4, num_rows).astype(np.float32)
    labels = (rng.random(num_rows) < scores).astype(np.float32)
    return labels, scores if levels is None else np.round(scores * levels) / np.float32(levels)


@pytest.mark.parametrize("levels", [None, 10])
def test_metrics_agree_with_sklearn(levels):
    labels, scores = planted(5_000, levels=levels)
    metrics = measure(labels, scores, threshold=0.3)
    predicted = scores >= 0.3
    assert metrics.auc == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    smallest = np.finfo(np.float32).eps
    clipped = np.clip(scores.astype(float), smallest, 1 - smallest)
    assert metrics.log_loss == pytest.approx(log_loss(labels, clipped))
    assert metrics.accuracy == np.mean(predicted == labels)
    assert metrics.precision == np.sum(labels[predicted]) / predicted.sum()
    assert metrics.recall == np.sum(labels[predicted]) / labels.sum()
    assert metrics.f1 == pytest.approx(f1_score(labels, predicted))
    assert metrics.calibration == pytest.approx(scores.sum(dtype=float) / labels.sum())
    assert (metrics.num_rows, metrics.num_positives, metrics.threshold) == (5_000, int(labels.sum()), 0.3)


def test_a_score_at_the_threshold_counts_as_positive():
    metrics = measure([0, 1, 1], [0.25, 0.5, 0.75], threshold=0.5)
    assert (metrics.recall, metrics.precision) == (1.0, 1.0)


def test_a_wrong_score_of_zero_costs_a_finite_log_loss():
    """An int8 output says 0 for everything under 1/256; that is not certainty."""
    assert measure([0, 1], [0.0, 0.0], threshold=0.5).log_loss == pytest.approx(-np.log(np.finfo(np.float32).eps) / 2)


def test_no_predicted_positive_gives_precision_zero_without_a_warning(recwarn):
    metrics = measure([0, 1], [0.1, 0.2], threshold=0.9)
    assert (metrics.precision, metrics.recall, metrics.f1) == (0, 0, 0)
    assert not recwarn.list


@pytest.mark.parametrize("levels", [None, 20])
def test_best_threshold_is_the_best_of_all_thresholds(levels):
    labels, scores = planted(400, levels=levels)
    scores = scores.astype(np.float64)
    chosen = best_threshold(labels, scores)
    every = {threshold: f1_score(labels, scores >= threshold, zero_division=0) for threshold in np.unique(scores)}
    assert every[chosen] == pytest.approx(max(every.values()))


def test_best_threshold_of_float32_scores_survives_json():
    """The threshold is stored in a file; read back it must still catch the score it came from."""
    labels, scores = planted(2_000)
    threshold = json.loads(json.dumps(best_threshold(labels, scores)))
    assert threshold in scores.astype(np.float64)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.booleans()), min_size=2, max_size=40))
def test_grouped_auc_is_the_row_weighted_mean_of_sklearn_aucs(rows):
    groups, levels, labels = (np.array(column) for column in zip(*rows, strict=True))
    if labels.all() or not labels.any():
        return
    aucs, weights = [], []
    for group in np.unique(groups):
        mine = groups == group
        if 0 < labels[mine].sum() < mine.sum():
            aucs.append(roc_auc_score(labels[mine], levels[mine]))
            weights.append(mine.sum())
    expected = np.average(aucs, weights=weights) if aucs else None
    assert grouped_auc(labels, levels / 4, groups) == (expected if expected is None else pytest.approx(expected))


def test_groups_may_be_text():
    labels, scores = planted(300)
    numbers = np.arange(300) % 7
    assert grouped_auc(labels, scores, numbers.astype(str)) == pytest.approx(grouped_auc(labels, scores, numbers))


def test_grouped_auc_sees_what_auc_does_not():
    """Scores that know only who is a heavy buyer win the AUC and lose inside each group."""
    labels = np.array([1, 1, 0, 0, 0, 1])
    scores = np.array([0.8, 0.7, 0.9, 0.1, 0.3, 0.2])
    groups = np.array([1, 1, 1, 2, 2, 2])
    assert grouped_auc(labels, scores, groups) < roc_auc_score(labels, scores)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_tie_rate_counts_equal_pairs(rows):
    levels, labels = (np.array(column) for column in zip(*rows, strict=True))
    if labels.all() or not labels.any():
        return
    pairs = levels[labels][:, None] == levels[~labels][None, :]
    assert tie_rate(labels, levels / 5) == pytest.approx(pairs.mean())


def test_half_a_million_rows_take_under_two_seconds():
    labels, scores = planted(500_000)
    groups = np.random.default_rng(1).integers(0, 2_400, len(labels))
    start = time.perf_counter()
    grouped_auc(labels, scores, groups)
    tie_rate(labels, scores)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    ("labels", "scores", "error", "words"),
    [
        ([1, 1], [0.1, 0.2], DataError, "2 positives of 2 rows"),
        ([0, 0], [0.1, 0.2], DataError, "0 positives of 2 rows"),
        ([0, 2], [0.1, 0.2], DataError, "row 1, 2"),
        ([0.0, float("nan")], [0.1, 0.2], DataError, "neither 0 nor 1"),
        ([0, 1], [0.1, float("nan")], ScoringError, "row 1, nan"),
        ([0, 1], [0.1, float("inf")], ScoringError, "not finite"),
        ([0, 1], [0.1, 1.7], ScoringError, "not the logit"),
        ([0, 1], [0.1], DataError, "1 rows beside 2 labels"),
        ([[0], [1]], [0.1, 0.2], DataError, r"shape \(2, 1\)"),
        ([], [], DataError, "at least one row"),
    ],
)
def test_bad_input_is_refused_with_the_fix(labels, scores, error, words):
    with pytest.raises(error, match=words) as raised:
        measure(labels, scores, threshold=0.5)
    assert "Expected" in str(raised.value)
    assert "Fix:" in str(raised.value)


def test_groups_of_another_length_are_refused():
    with pytest.raises(DataError, match="groups, 3 rows beside 2 labels"):
        measure([0, 1], [0.1, 0.2], [1, 2, 3], threshold=0.5)


def test_metrics_refuse_what_cannot_be_measured():
    good = asdict(measure([0, 1], [0.1, 0.2], threshold=0.5))
    with pytest.raises(TfshopError, match=r"auc is 1\.2"):
        Metrics(**{**good, "auc": 1.2})
    with pytest.raises(TfshopError, match="both classes"):
        Metrics(**{**good, "num_positives": 0})
