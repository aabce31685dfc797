"""`sensitivity`: its numbers are those of really changed networks, and a killed run goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import same_weights

import tfshop
from tfshop._keras import keras, tf
from tfshop.compression import QAT, Cluster, LowRank, Prune, PruneUnits
from tfshop.compression.importance import weight_scores
from tfshop.compression.rebuild import copy_model
from tfshop.data import Splits
from tfshop.errors import ModelError, PlanError, TfshopError
from tfshop.evaluation import auc_difference
from tfshop.export import Export
from tfshop.probing import Sensitivity, sensitivity
from tfshop.probing.bench import Bench
from tfshop.probing.bits import Bits
from tfshop.probing.journal import JOURNAL
from tfshop.probing.rank import Rank
from tfshop.probing.shared import Shared
from tfshop.probing.units import Units
from tfshop.probing.zeros import Zeros

from .conftest import auc_lost, run_in_full

WEIGHTS = Export("dynamic")  # rounds nothing else
BRIEF = [Prune(0.8), Bits((2,))]


@pytest.fixture(scope="module")
def found(trained_dcn: Any, clicks: Splits) -> Sensitivity:
    """Zeros, ranks and bits on all validation rows."""
    return sensitivity(trained_dcn, clicks, [Prune(0.8), Rank((0.1,)), Bits((2,), WEIGHTS)])


def changed_kernel(model: Any, trial: Any, data: Splits) -> np.ndarray:
    """What the technique of a trial makes of a kernel, by other means."""
    kernel = model.get_layer(trial.layer).kernel.numpy()
    if trial.technique == "Prune":
        size = np.abs(kernel)
        return np.where(size <= np.sort(size, axis=None)[round(0.8 * kernel.size) - 1], 0, kernel)
    channel = np.abs(kernel).max(axis=0)
    return np.select([kernel > channel / 2, kernel < -channel / 2], [channel, -channel], 0)


def test_the_loss_is_that_of_a_network_really_changed(found: Sensitivity, trained_dcn: Any, clicks: Splits) -> None:
    split = clicks.validation
    before = run_in_full(trained_dcn, split, {})
    tried = [trial for trial in found.trials if trial.technique != "LowRank"]
    assert len(tried) == 2 * len(found.layers) == 14
    for trial in tried:
        after = run_in_full(trained_dcn, split, {trial.layer: changed_kernel(trained_dcn, trial, clicks)})
        assert trial.auc_loss == pytest.approx(auc_lost(split, before, after), abs=1e-7), trial
        interval = auc_difference(split.labels, after.reshape(-1), before.reshape(-1))
        assert trial.low == pytest.approx(-interval.high, abs=1e-6)
        assert trial.high == pytest.approx(-interval.low, abs=1e-6)
        logits = [np.log(scores / (1 - scores)) for scores in (before.astype(float), after.astype(float))]
        assert trial.logit_error == pytest.approx(np.sqrt(np.mean((logits[1] - logits[0]) ** 2)), rel=1e-3)
        labels = split.labels.reshape(-1, 1)
        likelihoods = [np.where(labels > 0, scores, 1 - scores) for scores in (before.astype(float), after)]
        assert trial.log_loss == pytest.approx(np.mean(np.log(likelihoods[0]) - np.log(likelihoods[1])), abs=1e-5)
    assert max(trial.auc_loss for trial in tried) > 0.002  # something was lost, so that the numbers say something


def test_every_layer_with_a_kernel_is_tried_and_the_rest_named(found: Sensitivity, trained_dcn: Any) -> None:
    assert {"cross_0_kernel", "dense_0", "dense_1", "logit"} <= set(found.layers)
    rows = {(row["layer"], row["pass"]): row["reason"] for row in found.left_alone}
    assert "not asked for" in rows["table", "sensitivity"]
    assert "several outputs" in rows["logit", "LowRank"]
    assert {layer.name for layer in trained_dcn.layers if layer.weights} <= {*found.layers, *(row[0] for row in rows)}


def test_the_model_is_left_as_it_was(trained_mlp: Any, clicks: Splits) -> None:
    before = copy_model(trained_mlp)
    sensitivity(trained_mlp, clicks, [*BRIEF, Units((0.5,))], rows=200)
    assert same_weights(before, trained_mlp)
    assert [layer.name for layer in before.layers] == [layer.name for layer in trained_mlp.layers]


def test_passes_are_tried_at_their_own_strength(trained_mlp: Any, clicks: Splits) -> None:
    passes = [Prune(0.5), LowRank(rank=8), PruneUnits(0.5), Cluster(16), Export("int8"), QAT(bits=4)]
    found = sensitivity(trained_mlp, clicks, passes, rows=300)
    assert {(trial.technique, trial.setting) for trial in found.trials if trial.layer == "dense_1"} == {
        ("Prune", "50% zeros"),
        ("LowRank", "rank 8"),
        ("PruneUnits", "50% of units gone"),
        ("Cluster", "16 values"),
        ("Quantize", "8 bits"),
        ("Quantize", "4 bits"),
    }
    assert found.strongest("LowRank", limit=1.0)["dense_1"] == 8
    rows = {(row["layer"], row["pass"]): row["reason"] for row in found.left_alone}
    assert "stays in float" in rows["logit", "Quantize"]


def test_no_strength_loses_nothing_and_saves_nothing(trained_dcn: Any, clicks: Splits) -> None:
    none = sensitivity(trained_dcn, clicks, [Zeros((0.0,)), Units((0.0,)), Rank((1.0,)), Bits((32,))], rows=300)
    assert {trial.technique for trial in none.trials} == {"Prune", "PruneUnits", "LowRank", "Quantize"}
    for trial in none.trials:
        losses = (trial.auc_loss, trial.low, trial.high, trial.log_loss, trial.logit_error)
        assert losses == (0, 0, 0, 0, 0), trial
        assert (trial.bytes_saved, trial.multiplies_saved) == (0, 0), trial


def test_an_irrelevant_layer_loses_nothing_and_a_vital_one_much(trained_mlp: Any, clicks: Splits) -> None:
    """A tower whose reader has zeros for it, beside the trained one."""
    inputs = {tensor.name.split(":")[0]: tensor for tensor in trained_mlp.inputs}
    vital = trained_mlp.get_layer("logit").input
    idle = keras.layers.Dense(8, activation="relu", name="idle")(vital)
    joined = keras.layers.Concatenate()([vital, idle])
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid", name="score")(joined))
    kernel, bias = trained_mlp.get_layer("logit").get_weights()
    model.get_layer("score").set_weights([np.concatenate([kernel, np.zeros((8, 1))]), bias])
    found = sensitivity(
        model, clicks, [Zeros((0.975,), "random"), Bits((2,), WEIGHTS), Units((0.5,)), Rank((0.1,)), Shared((4,))]
    )
    by_layer = {layer: [t for t in found.trials if t.layer == layer] for layer in found.layers}
    assert len(by_layer["idle"]) >= 3
    assert all(trial.auc_loss == 0 and trial.logit_error == 0 for trial in by_layer["idle"])
    assert max(trial.auc_loss for trial in by_layer["score"]) > 0.02
    assert found.worst(1) != ["idle"] and found.ranked()[-1].layer == "idle"


def test_each_target_has_its_loss(trained_several: Any, two_targets: Splits) -> None:
    found = sensitivity(trained_several, two_targets, [Bits((2,), WEIGHTS)])
    assert all(set(trial.by_target) == {"clicked", "bought"} for trial in found.trials)
    for trial in found.trials:
        assert trial.auc_loss == pytest.approx(np.mean(list(trial.by_target.values())))
    heads = {trial.layer: trial.by_target for trial in found.trials if trial.by_target["clicked"] == 0}
    assert heads  # the head of one target does not touch the other
    assert any(losses["bought"] != 0 for losses in heads.values())
    assert {"auc_loss_clicked", "auc_loss_bought"} <= set(found.table().columns)


def test_tables_are_tried_where_they_are_asked_for(trained_mlp: Any, clicks: Splits) -> None:
    found = sensitivity(trained_mlp, clicks, [Bits((8,)), Bits((2,))], roles=("table",), rows=300)
    mild, strong = found.trials
    assert (mild.layer, mild.role, mild.setting, strong.setting) == ("table", "table", "8 bits", "2 bits")
    assert mild.logit_error < 0.02 and strong.logit_error > 0.1
    rows, width = trained_mlp.get_layer("table").get_weights()[0].shape
    assert mild.bytes_saved == rows * (3 * width - 4)


class Killed(KeyboardInterrupt):
    """A kill in the middle."""


def counted(monkeypatch: pytest.MonkeyPatch, *, kill_after: int = 1000) -> list[tuple[str, float]]:
    """Count trials that are really made."""
    made: list[tuple[str, float]] = []
    trial = Bench.trial

    def counting(self: Bench, layer: str, technique: Any, strength: float) -> Any:
        if len(made) == kill_after:
            raise Killed
        made.append((layer, strength))
        return trial(self, layer, technique, strength)

    monkeypatch.setattr(Bench, "trial", counting)
    return made


def test_a_killed_run_goes_on_where_it_was(trained_mlp: Any, clicks: Splits, tmp_path: Any, shown: list[float]) -> None:
    small = replace(clicks, validation=clicks.validation.take(300))
    with pytest.MonkeyPatch.context() as patch:
        first = counted(patch, kill_after=3)
        with pytest.raises(Killed):
            sensitivity(trained_mlp, small, BRIEF, folder=tmp_path / "s")
    journal = tmp_path / "s" / JOURNAL
    journal.write_text(journal.read_text() + '{"layer": "dense_')  # half of a line
    with pytest.MonkeyPatch.context() as patch:
        second = counted(patch)
        whole = sensitivity(trained_mlp, small, BRIEF, folder=tmp_path / "s")
    assert len(first) == 3
    assert shown == [len(whole.trials), 0, 1, 1, 1, len(whole.trials), 3, *(1 for _ in second)]
    assert not set(first) & set(second)
    assert {*first, *second} == {(trial.layer, trial.strength) for trial in whole.trials}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bench, "__init__", None)  # nothing is even made ready
        assert sensitivity(trained_mlp, small, BRIEF, folder=tmp_path / "s") == whole
    at_once = sensitivity(trained_mlp, small, BRIEF)
    assert [t.key for t in at_once.trials] == [t.key for t in whole.trials]
    assert [t.auc_loss for t in at_once.trials] == pytest.approx([t.auc_loss for t in whole.trials], abs=1e-9)


def test_other_weights_rows_or_seeds_begin_anew(trained_mlp: Any, clicks: Splits, tmp_path: Any) -> None:
    small = replace(clicks, validation=clicks.validation.take(300))
    passes = [Zeros((0.8,))]
    sensitivity(trained_mlp, small, passes, folder=tmp_path)
    other = copy_model(trained_mlp)
    other.get_layer("logit").bias.assign_add([0.5])
    for model, data, options in (
        (other, small, {}),
        (other, small, {"rows": 200}),
        (other, small, {"rows": 200, "seed": 1}),
    ):
        with pytest.MonkeyPatch.context() as patch:
            made = counted(patch)
            found = sensitivity(model, data, passes, folder=tmp_path, **options)
            assert len(made) == len(found.trials)
    with pytest.MonkeyPatch.context() as patch:
        made = counted(patch)  # one strength more is one strength more
        sensitivity(other, small, [Zeros((0.8, 0.5))], rows=200, seed=1, folder=tmp_path)
        assert {strength for _, strength in made} == {0.5}


def test_a_folder_of_somebody_else_is_left_alone(trained_mlp: Any, clicks: Splits, tmp_path: Any) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(TfshopError, match="not ours"):
        sensitivity(trained_mlp, clicks, BRIEF, folder=tmp_path)


def test_importance_of_a_pass_is_that_of_the_trial(trained_mlp: Any, clicks: Splits) -> None:
    found = sensitivity(trained_mlp, clicks, [Zeros((0.8,)), Zeros((0.8,), "taylor")], rows=400)
    assert found.techniques == ["Prune", "Prune (taylor)"]
    scores = weight_scores(trained_mlp, ["dense_0"], "taylor", clicks)["dense_0"]
    kernel = trained_mlp.get_layer("dense_0").kernel.numpy()
    kernel.flat[np.argsort(scores, axis=None, kind="stable")[: round(0.8 * kernel.size)]] = 0
    split = clicks.validation.take(400, seed=0)
    before, after = (run_in_full(trained_mlp, split, kernels) for kernels in ({}, {"dense_0": kernel}))
    (trial,) = [t for t in found.trials if t.layer == "dense_0" and t.technique == "Prune (taylor)"]
    assert trial.auc_loss == pytest.approx(auc_lost(split, before, after), abs=1e-7)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"passes": "Distill"}, "layer by layer"),
        ({"passes": []}, "no passes"),
        ({"roles": ("tower",)}, "'tower'"),
    ],
)
def test_what_cannot_be_measured_is_refused(trained_mlp: Any, clicks: Splits, options: Any, words: str) -> None:
    with pytest.raises(PlanError, match=words):
        sensitivity(trained_mlp, clicks, **options)


def test_weights_that_are_no_numbers_are_refused(trained_mlp: Any, clicks: Splits) -> None:
    broken = copy_model(trained_mlp)
    broken.get_layer("dense_0").kernel.assign_add(np.nan * tf.ones_like(broken.get_layer("dense_0").kernel))
    with pytest.raises(ModelError, match=r"weights of 'dense_0' of 'mlp' are not finite.*Fix:"):
        sensitivity(broken, clicks, [Prune(0.5)])


def test_a_network_without_kernels_is_refused(clicks: Splits) -> None:
    ids = keras.Input((3,), dtype="int32", name="ids")
    weights = keras.layers.Embedding(max(clicks.schema.tables.values()), 1, name="weights")(ids)
    pooled = keras.layers.GlobalAveragePooling1D()(weights)
    model = keras.Model(ids, keras.layers.Activation("sigmoid", name="probability")(pooled), name="linear")
    with pytest.raises(PlanError, match="no layer with role dense"):
        sensitivity(model, clicks)


def test_it_is_public() -> None:
    assert tfshop.sensitivity is sensitivity
    assert tfshop.Sensitivity is Sensitivity
