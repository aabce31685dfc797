"""Files are measured beside their baseline, and of two the better one is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import apply_once

import tfshop as ts
from tfshop._keras import keras
from tfshop.data import Splits
from tfshop.errors import AuditError, ModelError
from tfshop.evaluation.audit import audit_file
from tfshop.evaluation.measured import Measured
from tfshop.layers import OutputRange
from tfshop.pipeline import Goal, pursue
from tfshop.result import Result

pytestmark = pytest.mark.usefixtures("brief_timing")
SLIGHT = {"learning_rate": 1e-6}  # so small that either of the two files may be the better one
WILD = {"learning_rate": 0.05}  # throws the weights about


@pytest.fixture(scope="module", autouse=True)
def each_training_once() -> Iterator[None]:
    """What is made of the files comes after the training."""
    with pytest.MonkeyPatch.context() as patch:
        apply_once(patch, ts.QAT)
        yield


def test_both_files_are_timed(result: Result) -> None:
    for measured in (result.measured, result.baseline):
        latency = measured.evaluation.latency
        assert latency is not None and [row.batch_size for row in latency.rows] == [1, 16, 128, 512]


def test_the_better_of_qat_and_ptq_is_kept_and_said(trained_mlp: Any, clicks: Splits, baseline: Measured) -> None:
    result = pursue(trained_mlp, clicks, ts.chain(ts.QAT()), Goal(baseline=baseline, timed=False))
    aucs = told_aucs(result)
    assert result.evaluation.validation.auc == pytest.approx(max(aucs.values()), abs=6e-6)
    assert (result.candidate.model is trained_mlp) == (max(aucs, key=lambda kind: aucs[kind]) == PLAIN)
    assert has_ranges(result.candidate.model) == (aucs["QAT"] == max(aucs.values()))


def test_fewer_bits_are_kept_whatever_eight_would_reach(trained_mlp: Any, brief: Splits, baseline: Measured) -> None:
    """A file of 8 bits, and twice the download, is not what was asked for."""
    plan = ts.chain(ts.QAT(bits=2, learning_rate=0.02))
    result = pursue(trained_mlp, brief, plan, Goal(baseline=baseline, timed=False))
    (note,) = [text for text in result.evaluation.notes if "for its 2 bits" in text]
    trained, _, plain = (float(word) for word in note.replace(",", "").split() if word.startswith("0."))
    assert note.startswith("QAT is kept") and note.endswith("which has 8")
    assert trained < plain and result.evaluation.validation.auc == pytest.approx(trained, abs=6e-6)


def test_a_network_whose_weights_are_not_finite_is_refused(trained_mlp: Any, clicks: Splits) -> None:
    """Its scores may be: a ReLU of NaN can be 0."""
    model = keras.models.clone_model(trained_mlp)
    model.set_weights(trained_mlp.get_weights())
    kernel = model.get_layer("dense_1").kernel
    kernel.assign(np.where(np.arange(kernel.shape[0])[:, None] == 3, np.nan, kernel.numpy()))
    with pytest.raises(ModelError, match=r"weights of 'dense_1' of 'mlp' are not finite.*Fix:"):
        ts.compress(model, clicks, ts.chain(ts.Export("int8")))


def test_a_qat_that_ruins_the_network_is_dropped_for_ptq(trained_mlp: Any, brief: Splits, baseline: Measured) -> None:
    result = pursue(trained_mlp, brief, ts.chain(ts.QAT(**WILD)), Goal(baseline=baseline, timed=False))
    aucs = told_aucs(result)
    assert max(aucs["QAT"], aucs[MEASURED]) < aucs[PLAIN] == pytest.approx(result.evaluation.validation.auc, abs=6e-6)
    assert result.candidate.model is trained_mlp
    assert [record.name for record in result.candidate.history] == ["QAT"]


PLAIN, MEASURED = "post-training quantization", "QAT's weights with measured ranges"


def refusing(monkeypatch: pytest.MonkeyPatch, refuses: Callable[[Any], bool]) -> None:
    """Let the audit refuse the files of some models."""

    def audit(content: bytes, model: Any, data: Splits, **settings: Any) -> Any:
        if refuses(model):
            raise AuditError("planted")
        return audit_file(content, model, data, **settings)

    monkeypatch.setattr("tfshop.measuring.audit_file", audit)


def has_ranges(model: Any) -> bool:
    return any(isinstance(layer, OutputRange) for layer in model.layers)


def test_where_the_audit_refuses_the_qat_file_post_training_quantization_is_kept_and_it_is_said(
    trained_mlp: Any, brief: Splits, baseline: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, has_ranges)
    result = pursue(trained_mlp, brief, ts.chain(ts.QAT(**SLIGHT)), Goal(baseline=baseline, timed=False))
    assert not has_ranges(result.candidate.model)
    assert any("the file of QAT was refused: planted" in note for note in result.evaluation.notes)
    assert any("audit passed" in note for note in result.evaluation.notes)


def test_where_the_audit_refuses_the_better_file_without_qat_the_trained_one_is_kept(
    trained_mlp: Any, brief: Splits, baseline: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, lambda model: model is trained_mlp)
    result = pursue(trained_mlp, brief, ts.chain(ts.QAT(**WILD)), Goal(baseline=baseline, timed=False))
    assert result.candidate.model is not trained_mlp
    assert any("post-training quantization was refused: planted" in note for note in result.evaluation.notes)


def test_where_the_audit_refuses_both_files_the_plan_is_refused(
    trained_mlp: Any, brief: Splits, baseline: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, lambda model: True)
    with pytest.raises(AuditError, match="planted"):
        pursue(trained_mlp, brief, ts.chain(ts.QAT(**SLIGHT)), Goal(baseline=baseline, timed=False))


def told_aucs(result: Result) -> dict[str, float]:
    """With QAT, with its weights alone, and without it, as the note tells them."""
    (note,) = [text for text in result.evaluation.notes if "is the best and is kept" in text]
    kept, _, told = note.partition(" is the best and is kept: validation AUC ")
    aucs = {kind: float(auc) for auc, kind in (part.split(" with ", 1) for part in told.split(", "))}
    assert set(aucs) == {"QAT", MEASURED, PLAIN} and aucs[kept] == max(aucs.values())
    return aucs


def test_a_keras_model_an_artifact_a_path_and_bytes_are_evaluated_alike(
    trained_mlp: Any, result: Result, clicks: Splits, tmp_path: Path
) -> None:
    folder = result.artifact.save(tmp_path / "mine")
    whole = ts.evaluate(trained_mlp, clicks, timed=False)
    assert whole.test == result.baseline.evaluation.test and whole.name == "model"
    sources = (result.artifact, folder, str(folder / "model.tflite"), result.measured.content)
    for source in sources:
        found = ts.evaluate(source, clicks, name="int8", baseline=trained_mlp, timed=False)
        assert found.test == result.evaluation.test and found.size_bytes == result.evaluation.size_bytes
        assert found.auc_difference_test == result.evaluation.auc_difference_test
    assert ts.evaluate(folder, clicks).latency is not None


def test_a_subclassed_model_is_not_evaluated(clicks: Splits) -> None:
    with pytest.raises(ModelError, match="is subclassed"):
        ts.evaluate(keras.Model(name="mine"), clicks)
