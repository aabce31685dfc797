"""The file is what is measured: every row of validation and test, threshold from validation, differences in pairs."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import keras_scores
from sklearn.metrics import accuracy_score, f1_score, log_loss, recall_score, roc_auc_score

from tfshop._keras import keras
from tfshop.data import Splits
from tfshop.errors import ArtifactError, ScoringError
from tfshop.evaluation import auc_difference, best_threshold
from tfshop.evaluation.measured import Measured, measure_file
from tfshop.export import convert
from tfshop.runtime import Latency, LatencyRow


@pytest.fixture(scope="module")
def baseline(exported: Callable[[str, str], bytes], clicks: Splits) -> Measured:
    """The float32 file, measured."""
    return measure_file("float32", exported("mlp", "float32"), clicks)


@pytest.fixture(scope="module")
def small(exported: Callable[[str, str], bytes], clicks: Splits, baseline: Measured) -> Measured:
    """The int8 file beside it."""
    return measure_file("int8", exported("mlp", "int8"), clicks, baseline=baseline)


def test_scores_are_those_of_every_row_in_order(baseline: Measured, trained_mlp: Any, clicks: Splits) -> None:
    for scores, split in ((baseline.validation_scores, clicks.validation), (baseline.test_scores, clicks.test)):
        assert scores.shape == (split.num_rows,) and scores.dtype == np.float32
        np.testing.assert_allclose(scores, keras_scores(trained_mlp, split.inputs), atol=1e-5)


def test_figures_are_those_of_scikit_learn_on_the_files_scores(small: Measured, clicks: Splits) -> None:
    for part in ("validation", "test"):
        metrics = getattr(small.evaluation, part)
        scores, labels = getattr(small, f"{part}_scores").astype(np.float64), getattr(clicks, part).labels
        called = scores >= metrics.threshold
        assert metrics.auc == pytest.approx(roc_auc_score(labels, scores))
        assert metrics.log_loss == pytest.approx(log_loss(labels, scores))
        assert metrics.accuracy == pytest.approx(accuracy_score(labels, called))
        assert metrics.recall == pytest.approx(recall_score(labels, called))
        assert metrics.f1 == pytest.approx(f1_score(labels, called))
        assert metrics.num_rows == len(labels) and metrics.grouped_auc is not None
    assert small.evaluation.validation.auc != small.evaluation.test.auc


def test_the_threshold_is_chosen_on_validation_and_used_on_test(small: Measured, clicks: Splits) -> None:
    chosen = best_threshold(clicks.validation.labels, small.validation_scores)
    assert small.evaluation.test.threshold == small.evaluation.validation.threshold == pytest.approx(chosen)
    assert chosen != pytest.approx(best_threshold(clicks.test.labels, small.test_scores))


def test_sizes_are_those_of_the_bytes(small: Measured, exported: Callable[[str, str], bytes]) -> None:
    assert small.content == exported("mlp", "int8")
    assert small.evaluation.size_bytes == len(small.content)
    assert small.evaluation.gzip_bytes == pytest.approx(len(gzip.compress(small.content)), rel=0.02)


def test_differences_are_to_the_baseline_and_paired(small: Measured, baseline: Measured, clicks: Splits) -> None:
    evaluation = small.evaluation
    for part in ("validation", "test"):
        found = getattr(evaluation, f"auc_difference_{part}")
        mine, theirs = (getattr(m, f"{part}_scores") for m in (small, baseline))
        assert found == auc_difference(getattr(clicks, part).labels, mine, theirs)
        assert found.difference == pytest.approx(getattr(evaluation, part).auc - getattr(baseline.evaluation, part).auc)
        assert found.low < found.difference < found.high
    assert baseline.evaluation.auc_difference_validation is None and baseline.evaluation.auc_difference_test is None


def test_remarks_and_times_are_added_to_a_copy(small: Measured) -> None:
    latency = Latency("a cpu", 1, (LatencyRow(1, 5.0, 6.0, 10),))
    richer = small.with_notes("one").with_notes("two", "three").with_latency(latency)
    assert richer.evaluation.notes == ("one", "two", "three") and richer.evaluation.latency == latency
    assert small.evaluation.notes == () and small.evaluation.latency is None
    assert replace(richer.evaluation, notes=(), latency=None) == small.evaluation


def test_a_damaged_file_is_refused(exported: Callable[[str, str], bytes], clicks: Splits) -> None:
    with pytest.raises(ArtifactError, match="Fix:"):
        measure_file("half", exported("mlp", "int8")[:5000], clicks)


def test_scores_that_are_no_probabilities_are_refused(trained_mlp: Any, clicks: Splits) -> None:
    logits = keras.Model(trained_mlp.inputs, trained_mlp.get_layer("logit").output)
    with pytest.raises(ScoringError, match="Fix:"):
        measure_file("logits", convert(logits, "float32"), clicks)
