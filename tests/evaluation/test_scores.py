"""A file's outputs are found by the names of the targets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tfshop._keras import keras
from tfshop.data import IdFeature, Schema, Splits
from tfshop.errors import AuditError, ScoringError
from tfshop.evaluation.audit import audit_file
from tfshop.evaluation.measured import Measured, measure_file
from tfshop.evaluation.scores import outputs_of_targets, target_scores
from tfshop.export import Export, convert
from tfshop.runtime import Scorer
from tfshop.training import predict

TWO = Schema([IdFeature("item")], target=("clicked", "bought"))
ONE = Schema([IdFeature("item")], target="bought")


@pytest.fixture(scope="module")
def content(trained_several: Any, two_targets: Splits) -> bytes:
    return Export("float32").to_bytes(trained_several, two_targets)


@pytest.fixture(scope="module")
def measured(content: bytes, two_targets: Splits) -> Measured:
    return measure_file("float32", content, two_targets)


def swapped(model: Any) -> Any:
    """The same network with its outputs under each other's names."""
    first, second = model.outputs
    linear = keras.layers.Activation
    outputs = [linear("linear", name="clicked")(second), linear("linear", name="bought")(first)]
    return keras.Model(model.input, outputs, name="swapped")


@pytest.mark.parametrize(
    ("schema", "outputs", "found"),
    [
        (ONE, ["score"], {"bought": "score"}),
        (ONE, ["logit", "probability"], {"bought": "probability"}),
        (TWO, ["probability_bought", "probability_clicked"], ["probability_clicked", "probability_bought"]),
        (TWO, ["bought", "clicked", "extra"], ["clicked", "bought"]),
    ],
)
def test_outputs_are_found_by_name(schema: Schema, outputs: list[str], found: Any) -> None:
    expected = found if isinstance(found, dict) else dict(zip(("clicked", "bought"), found, strict=True))
    assert outputs_of_targets(outputs, schema) == expected


@pytest.mark.parametrize("outputs", [["probability"], ["a", "b"], ["clicked", "b"]])
def test_of_several_targets_none_is_guessed(outputs: list[str]) -> None:
    with pytest.raises(ScoringError, match=r"none of them for target.*Fix: name the outputs"):
        outputs_of_targets(outputs, TWO)


def test_each_target_gets_the_scores_of_keras(content: bytes, trained_several: Any, two_targets: Splits) -> None:
    found = target_scores(Scorer(content, schema=two_targets.schema), two_targets.test)
    np.testing.assert_allclose(np.stack(list(found.values()), 1), predict(trained_several, two_targets.test), atol=1e-5)


def test_a_file_of_one_target_is_not_measured_on_two(two_targets: Splits, trained_several: Any) -> None:
    half = convert(keras.Model(trained_several.input, trained_several.outputs[0]), "float32")
    with pytest.raises(ScoringError, match=r"outputs probability_clicked, none of them for target 'bought'"):
        measure_file("half", half, two_targets)


def test_every_target_is_measured_on_its_own_labels(measured: Measured, two_targets: Splits) -> None:
    evaluation = measured.evaluation
    assert list(evaluation.targets) == ["clicked", "bought"]
    assert measured.validation_scores.shape == (600, 2)
    for column, target in enumerate(evaluation.targets):
        found = evaluation.of(target)
        auc = roc_auc_score(two_targets.test.labels[:, column], measured.test_scores[:, column])
        assert found.test.auc == pytest.approx(auc) and found.test.auc > 0.75
        assert found.test.num_positives == two_targets.test.labels[:, column].sum()
        assert found.size_bytes == evaluation.size_bytes and found.targets == {}
    assert evaluation.test == evaluation.of("clicked").test
    assert evaluation.of("bought").test.threshold != evaluation.of("clicked").test.threshold


def test_differences_are_paired_by_target(measured: Measured, content: bytes, two_targets: Splits) -> None:
    """A baseline that is worse on one of them."""
    noise = np.random.default_rng(0).random((600, 1), np.float32)
    worse = replace(measured, test_scores=np.concatenate([measured.test_scores[:, :1], noise], axis=1))
    found = measure_file("again", content, two_targets, baseline=worse).evaluation
    assert found.of("clicked").auc_difference_test.difference == 0
    assert found.of("bought").auc_difference_test.low > 0.1
    assert found.of("bought").auc_difference_validation.difference == 0


def test_the_audit_compares_each_output_with_its_own(content: bytes, trained_several: Any, two_targets: Splits) -> None:
    assert audit_file(content, trained_several, two_targets, mode="float32").parity_gap_max < 1e-5
    with pytest.raises(AuditError, match=r"output 'probability_clicked' of the float32 file differs"):
        audit_file(content, swapped(trained_several), two_targets, mode="float32")


def test_the_audit_counts_the_ties_of_each_output(content: bytes, trained_several: Any, two_targets: Splits) -> None:
    """One output is the same for every row; the other is as it was."""
    clicked, bought = trained_several.outputs
    half = keras.layers.Lambda(lambda score: 0.5 + 0 * score, name="bought")(bought)
    model = keras.Model(trained_several.input, [keras.layers.Activation("linear", name="clicked")(clicked), half])
    tied = Export("float32").to_bytes(model, two_targets)
    with pytest.raises(AuditError, match=r"output 'bought'.*have equal scores"):
        audit_file(tied, model, two_targets, mode="float32", baseline=content)
