"""Sparsity rises while validation holds, and steps back where it does not."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from helpers import same_weights
from sklearn.metrics import roc_auc_score

from tfshop.compression import Candidate, Prune
from tfshop.data import Splits
from tfshop.export import Export
from tfshop.runtime import count_zeros
from tfshop.training import predict

STEP = Prune(0.95, "adaptive", epochs=3, tolerance=0.002)


@pytest.fixture(scope="module")
def adapted(candidate: Callable[[str], Candidate], clicks: Splits) -> Candidate:
    """The perceptron, pruned as far as it goes."""
    return STEP.apply(candidate("mlp"), clicks, seed=0)


def test_it_rises_and_steps_back(adapted: Candidate) -> None:
    stages: list[dict[str, Any]] = adapted.history[-1].notes["stages"]
    floor = adapted.history[-1].notes["validation_auc_before"] - STEP.tolerance
    assert len(stages) == 12 and [stage["held"] for stage in stages] == [s["validation_auc"] >= floor for s in stages]
    assert {stage["held"] for stage in stages} == {True, False}
    reached = 0.0
    for stage in stages:
        assert stage["sparsity"] > reached or stage["sparsity"] == pytest.approx(0.95, abs=0.01)
        reached = stage["sparsity"] if stage["held"] else reached
    assert adapted.history[-1].notes["sparsity"] == pytest.approx(reached, abs=1e-6) and 0.3 < reached < 0.95


def test_the_network_that_comes_out_held(adapted: Candidate, clicks: Splits) -> None:
    auc = roc_auc_score(clicks.validation.labels, predict(adapted.model, clicks.validation))
    notes = adapted.history[-1].notes
    assert auc >= notes["validation_auc_before"] - STEP.tolerance - 1e-6
    kept = [stage["validation_auc"] for stage in notes["stages"] if stage["held"]][-1]
    assert auc == pytest.approx(kept, abs=1e-5)
    zeros, size = count_zeros(Export("float32").to_bytes(adapted.model, clicks))
    assert zeros / size >= notes["sparsity"] - 0.02


def test_the_curve_shows_the_rise_and_the_way_back(adapted: Candidate) -> None:
    shown = [row["sparsity"] for row in adapted.history[-1].curve if "validation_auc" not in row]
    assert any(later < earlier for earlier, later in pairwise(shown))
    judged = [row for row in adapted.history[-1].curve if "held" in row]
    assert len(judged) == 12 and all(0 < row["epoch"] <= 3 for row in judged)


def test_it_is_the_same_again(adapted: Candidate, candidate: Callable[[str], Candidate], clicks: Splits) -> None:
    assert same_weights(STEP.apply(candidate("mlp"), clicks, seed=0).model, adapted.model)


def test_where_nothing_may_be_lost_nothing_is_and_where_all_may_be_all_is_done(
    candidate: Callable[[str], Candidate], brief: Splits
) -> None:
    careful = Prune(0.99, "adaptive", tolerance=0.0, learning_rate=1e-9, importance="random").apply(
        candidate("mlp"), brief, seed=0
    )
    assert careful.history[-1].notes["sparsity"] < 0.2
    bold = Prune(0.9, "adaptive", tolerance=1.0).apply(candidate("mlp"), brief, seed=0)
    assert bold.history[-1].notes["sparsity"] == pytest.approx(0.9, abs=0.001)


def test_several_targets_are_judged_by_their_mean(trained_several: Any, two_targets: Splits) -> None:
    result = Prune(0.8, "adaptive").apply(Candidate(trained_several, two_targets.schema), two_targets, seed=0)
    notes = result.history[-1].notes
    assert 0.5 < notes["validation_auc_before"] < 1 and len(notes["stages"]) == 12
