"""The fast interval against its slow definition and against a bootstrap."""

from __future__ import annotations

import time
import warnings

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from tfshop.errors import DataError, ScoringError, TfshopError
from tfshop.evaluation import AucDifference, auc_difference


def planted(num_rows: int, *, noise: float, levels: int | None = None, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Labels, the scores of a file, and those of its baseline, of which the file's are a noisy copy."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1, 1.5, num_rows)
    labels = (rng.random(num_rows) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    baseline = logits + rng.normal(0, 0.5, num_rows)
    scores = baseline + rng.normal(0, noise, num_rows)
    return labels, scores if levels is None else np.round(scores * levels) / levels, baseline


def slow_difference(labels: np.ndarray, scores: np.ndarray, baseline: np.ndarray) -> tuple[float, float]:
    """DeLong's definition over all pairs, in O(m n): difference and standard error from the 2 x 2 covariances."""
    components = []
    for values in (scores, baseline):
        positives, negatives = values[labels == 1][:, None], values[labels == 0][None, :]
        wins = (positives > negatives) + 0.5 * (positives == negatives)
        components.append((wins.mean(axis=1), wins.mean(axis=0)))
    of_positives, of_negatives = np.stack([c[0] for c in components]), np.stack([c[1] for c in components])
    covariance = np.cov(of_positives) / of_positives.shape[1] + np.cov(of_negatives) / of_negatives.shape[1]
    contrast = np.array([1, -1])
    return float(contrast @ of_positives.mean(axis=1)), float(np.sqrt(contrast @ covariance @ contrast))


@pytest.mark.parametrize("levels", [None, 4])
def test_fast_interval_is_the_slow_definition(levels):
    labels, scores, baseline = planted(300, noise=0.4, levels=levels)
    difference, standard_error = slow_difference(labels, scores, baseline)
    found = auc_difference(labels, scores, baseline)
    assert found.difference == pytest.approx(difference, abs=1e-12)
    assert found.standard_error == pytest.approx(standard_error, rel=1e-9)
    assert found.low == pytest.approx(difference - 1.959964 * standard_error, abs=1e-7)
    assert found.high == pytest.approx(difference + 1.959964 * standard_error, abs=1e-7)


@pytest.mark.parametrize("levels", [None, 8])
def test_difference_is_that_of_sklearn_aucs(levels):
    labels, scores, baseline = planted(20_000, noise=0.3, levels=levels)
    expected = roc_auc_score(labels, scores) - roc_auc_score(labels, baseline)
    assert auc_difference(labels, scores, baseline).difference == pytest.approx(expected, abs=1e-12)


def bootstrap_differences(labels: np.ndarray, scores: np.ndarray, baseline: np.ndarray, times: int) -> np.ndarray:
    """AUC differences on rows drawn with replacement."""

    def auc(truth: np.ndarray, values: np.ndarray) -> float:
        positives = truth.sum()
        won = rankdata(values)[truth].sum() - positives * (positives + 1) / 2
        return won / (positives * (len(truth) - positives))

    rng = np.random.default_rng(7)
    truth = labels.astype(bool)
    draws = (rng.integers(0, len(truth), len(truth)) for _ in range(times))
    return np.array([auc(truth[rows], scores[rows]) - auc(truth[rows], baseline[rows]) for rows in draws])


@pytest.mark.parametrize("levels", [None, 3])
def test_interval_agrees_with_a_paired_bootstrap(levels):
    labels, scores, baseline = planted(4_000, noise=0.3, levels=levels, seed=3)
    found = auc_difference(labels, scores, baseline)
    differences = bootstrap_differences(labels, scores, baseline, times=1_000)
    low, high = np.quantile(differences, [0.025, 0.975])
    width = found.high - found.low
    assert differences.std() == pytest.approx(found.standard_error, rel=0.1)
    assert abs(low - found.low) < 0.1 * width
    assert abs(high - found.high) < 0.1 * width


def test_interval_holds_no_difference_in_95_of_100_worlds():
    """Both files are equally noisy copies of the truth, so the true difference is zero."""
    held = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        logits = rng.normal(0, 1, 400)
        labels = (rng.random(400) < 1 / (1 + np.exp(-logits))).astype(int)
        found = auc_difference(labels, logits + rng.normal(0, 0.5, 400), logits + rng.normal(0, 0.5, 400))
        held += found.low <= 0 <= found.high
    assert 0.91 <= held / 300 <= 0.985


def test_pairing_makes_the_interval_narrow():
    labels, scores, baseline = planted(4_000, noise=0.05)
    paired = auc_difference(labels, scores, baseline)
    alone = auc_difference(labels, scores, np.random.default_rng(0).permutation(baseline))
    assert paired.standard_error < alone.standard_error / 5


def test_equal_scores_differ_by_exactly_nothing():
    labels, scores, _ = planted(1_000, noise=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = auc_difference(labels, scores, scores.copy())
    assert found == AucDifference(0.0, 0.0, 0.0, 0.0, 1.0)


def test_a_monotone_change_of_the_scores_changes_nothing():
    """AUC sees order only: logits and probabilities give the same interval."""
    labels, scores, baseline = planted(1_000, noise=0.1)
    assert auc_difference(labels, np.tanh(scores / 9), baseline) == auc_difference(labels, scores, baseline)


def test_a_certain_difference_has_no_width_and_p_value_zero():
    found = auc_difference([0, 0, 1, 1], [1, 2, 3, 4], [0, 0, 0, 0])
    assert (found.difference, found.low, found.high, found.p_value) == (0.5, 0.5, 0.5, 0.0)


def test_swapping_the_files_turns_the_interval_round():
    labels, scores, baseline = planted(500, noise=0.3)
    there, back = auc_difference(labels, scores, baseline), auc_difference(labels, baseline, scores)
    assert (there.difference, there.low) == pytest.approx((-back.difference, -back.high))
    assert there.p_value == pytest.approx(back.p_value)


def test_a_higher_level_is_wider():
    labels, scores, baseline = planted(500, noise=0.3)
    assert auc_difference(labels, scores, baseline, level=0.99).low < auc_difference(labels, scores, baseline).low


def test_half_a_million_rows_take_under_two_seconds():
    labels, scores, baseline = planted(500_000, noise=0.1)
    start = time.perf_counter()
    auc_difference(labels, scores, baseline)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    ("labels", "scores", "baseline", "error", "words"),
    [
        ([0, 0, 1], [1, 2, 3], [1, 2, 3], DataError, "1 positives and 2 negatives"),
        ([1, 1, 1], [1, 2, 3], [1, 2, 3], DataError, "both classes"),
        ([0, 0, 1, 1], [1, 2, 3], [1, 2, 3, 4], DataError, "scores, 3 rows beside 4 labels"),
        ([0, 0, 1, 1], [1, 2, 3, 4], [1, 2, 3, np.nan], ScoringError, "baseline_scores, 1 of 4 are not finite"),
    ],
)
def test_bad_input_is_refused(labels, scores, baseline, error, words):
    with pytest.raises(error, match=words):
        auc_difference(labels, scores, baseline)


def test_a_level_of_95_is_refused():
    with pytest.raises(TfshopError, match=r"Fix: level=0\.95"):
        auc_difference([0, 0, 1, 1], [1, 2, 3, 4], [1, 2, 3, 4], level=95)


def test_an_interval_must_hold_its_difference():
    with pytest.raises(TfshopError, match="inside its interval"):
        AucDifference(difference=0.1, low=-0.1, high=0.0, standard_error=0.01, p_value=0.5)
