"""The value that goes into `evaluation.json` comes back as it was."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from tfshop.errors import ArtifactError, TfshopError
from tfshop.evaluation import AucDifference, Evaluation, TargetEvaluation, measure
from tfshop.runtime.latency_types import Latency, LatencyRow


@pytest.fixture
def evaluation() -> Evaluation:
    rng = np.random.default_rng(0)
    scores = rng.random(200)
    labels = rng.random(200) < scores
    metrics = measure(labels, scores, np.arange(200) % 9, threshold=1 / 3)
    difference = AucDifference(-1 / 3000, -1 / 1500, 1 / 9000, 1 / 7000, 0.1)
    latency = Latency("a cpu", 1, (LatencyRow(1, 7.1, 9.3, 500), LatencyRow(128, 100 / 3, 40.0, 300)))
    return Evaluation("int8", metrics, metrics, 1_000_000, 800_000, latency, difference, difference, ("a note",))


def test_json_gives_back_an_equal_value(evaluation):
    """Thirds are in it: every digit has to come back."""
    assert Evaluation.from_dict(json.loads(json.dumps(evaluation.to_dict()))) == evaluation


def test_the_plain_form_is_what_json_gives_back(evaluation):
    assert json.loads(json.dumps(evaluation.to_dict())) == evaluation.to_dict()


def test_a_baseline_without_latency_groups_or_difference_comes_back(evaluation):
    metrics = replace(evaluation.test, grouped_auc=None)
    bare = Evaluation("float32", metrics, metrics, 4_000_000, 3_000_000)
    assert Evaluation.from_dict(json.loads(json.dumps(bare.to_dict()))) == bare


def test_it_cannot_be_changed(evaluation):
    with pytest.raises(FrozenInstanceError):
        evaluation.size_bytes = 1


@pytest.mark.parametrize("part", ["validation", "test", "latency", "auc_difference_test"])
def test_a_missing_key_is_named(evaluation, part):
    content = evaluation.to_dict()
    lost = sorted(content[part])[0]
    del content[part][lost]
    with pytest.raises(ArtifactError, match=lost):
        Evaluation.from_dict(content)


def test_an_unknown_key_is_named(evaluation):
    with pytest.raises(ArtifactError, match="unknown \\['surprise'\\]"):
        Evaluation.from_dict({**evaluation.to_dict(), "surprise": 1})


@pytest.mark.parametrize(
    "change", [{"validation": 3}, {"latency": "fast"}, {"notes": 5}, {"size_bytes": "big"}, {"test": None}]
)
def test_content_of_another_kind_is_refused(evaluation, change):
    with pytest.raises(ArtifactError, match="Fix:"):
        Evaluation.from_dict({**evaluation.to_dict(), **change})


@pytest.mark.parametrize(("field", "value"), [("name", ""), ("size_bytes", 0), ("gzip_bytes", 0)])
def test_sizes_and_name_are_checked(evaluation, field, value):
    with pytest.raises(TfshopError, match="at least one byte"):
        replace(evaluation, **{field: value})


def test_latency_refuses_a_p99_under_its_p50():
    with pytest.raises(TfshopError, match="p50_us <= p99_us"):
        LatencyRow(1, p50_us=2.0, p99_us=1.0, runs=5)


def test_latency_refuses_a_batch_timed_twice():
    row = LatencyRow(1, 2.0, 3.0, 5)
    with pytest.raises(TfshopError, match="each batch size once"):
        Latency("a cpu", 1, (row, row))


def test_latency_of_a_batch_that_was_not_timed_is_none():
    row = LatencyRow(1, 2.0, 3.0, 5)
    assert Latency("a cpu", 1, (row,)).at(1) == row
    assert Latency("a cpu", 1, (row,)).at(2) is None


@pytest.fixture
def of_two(evaluation: Evaluation) -> Evaluation:
    """Of two targets; the second is worse."""
    worse = AucDifference(-0.1, -0.2, -0.05, 0.03, 0.001)
    second = TargetEvaluation(replace(evaluation.validation, auc=0.25), replace(evaluation.test, auc=0.5), worse, worse)
    first = TargetEvaluation(
        evaluation.validation, evaluation.test, evaluation.auc_difference_validation, evaluation.auc_difference_test
    )
    return replace(evaluation, targets={"clicked": first, "bought": second})


def test_json_gives_every_target_back(of_two):
    content = json.loads(json.dumps(of_two.to_dict()))
    assert Evaluation.from_dict(content) == of_two
    assert list(content["targets"]) == ["clicked", "bought"]


def test_json_of_one_target_has_no_word_of_targets(evaluation):
    """What an earlier version wrote, and can read."""
    assert "targets" not in evaluation.to_dict()


def test_the_numbers_of_a_target_are_an_evaluation_of_their_own(of_two, evaluation):
    assert of_two.of("clicked") == evaluation
    assert of_two.of("bought").test.auc == 0.5 and of_two.of("bought").latency == evaluation.latency
    assert of_two.each == {"clicked": of_two.of("clicked"), "bought": of_two.of("bought")}
    assert evaluation.each == {"": evaluation}
    assert of_two.mean_validation_auc == pytest.approx((evaluation.validation.auc + 0.25) / 2)


def test_a_target_that_was_not_measured_is_refused(of_two, evaluation):
    with pytest.raises(TfshopError, match=r"no target 'sold'. Expected one of clicked, bought"):
        of_two.of("sold")
    with pytest.raises(TfshopError, match=r"no target 'clicked'.*it has a single one"):
        evaluation.of("clicked")


def test_a_missing_key_of_a_target_is_named(of_two):
    content = of_two.to_dict()
    del content["targets"]["bought"]["test"]["recall"]
    with pytest.raises(ArtifactError, match="recall"):
        Evaluation.from_dict(content)
