"""Coded tables that train on: better codes in the same bytes, never worse ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import first_rows, keras_scores

from tfshop.compression import Candidate, EncodeTables, TuneTables
from tfshop.data import Splits
from tfshop.errors import PlanError
from tfshop.evaluation.audit import audit_file
from tfshop.export import Export, chain
from tfshop.export.plan import Plan
from tfshop.recipes import tiny
from tfshop.runtime import Scorer
from tfshop.tables import Float16, Grouped, Int2, Int4, ProductQuantization, RareRows, RowwiseLookup, TableLookup
from tfshop.training.scoring import mean_auc

COARSE = Int2("table", choice="max", grid="mid-tread")  # three levels, two of them hardly used


def tuned(model: Any, data: Splits, **settings: Any) -> Candidate:
    step = TuneTables(**{"codec": COARSE, "epochs": 1, **settings})
    step.check(model, data.schema)
    return step.apply(Candidate(model, data.schema), data, seed=0)


def codes(model: Any) -> np.ndarray:
    stored: np.ndarray = model.get_layer("table").stored()["codes"]
    return stored


@pytest.fixture(scope="module")
def coarse(trained_mlp: Any, clicks: Splits) -> Candidate:
    return tuned(trained_mlp, clicks)


@pytest.fixture(scope="module")
def coded(trained_mlp: Any, clicks: Splits) -> Candidate:
    return EncodeTables(COARSE).apply(Candidate(trained_mlp, clicks.schema), clicks, seed=0)


def test_tuning_wins_back_what_coding_lost(coarse: Candidate, coded: Candidate, clicks: Splits) -> None:
    notes = coarse.history[-1].notes
    before, after = notes["validation_auc"]["coded"], notes["validation_auc"]["tuned"]
    assert after > before + 0.002 and notes["kept"] == "tuned"
    assert mean_auc(coarse.model, clicks.validation) == pytest.approx(after)
    assert mean_auc(coded.model, clicks.validation) == pytest.approx(before)
    assert coarse.model.get_layer("table").get_config() == coded.model.get_layer("table").get_config()
    changed = notes["steps"]["table"]["changed_bytes"]
    assert changed == np.count_nonzero(codes(coarse.model) != codes(coded.model)) > 0


def test_the_file_scores_as_the_training_did(coarse: Candidate, clicks: Splits) -> None:
    """What rounding did during the training is what the codes say: the AUC of the last epoch is that of the file."""
    content = Export("float32").to_bytes(coarse.model, clicks)
    audit_file(content, coarse.model, clicks, mode="float32")
    rows = first_rows(clicks.validation.inputs, 100)
    np.testing.assert_allclose(Scorer(content)(rows).ravel(), keras_scores(coarse.model, rows), atol=1e-5)
    fit = coarse.history[-1].notes["fit"]
    best = max(epoch["validation_auc"] for epoch in fit["epochs"])
    assert mean_auc(coarse.model, clicks.validation) == pytest.approx(best, abs=2e-5)
    assert isinstance(coarse.model.get_layer("table"), TableLookup)


def test_every_row_learns_a_scale_of_its_own(trained_mlp: Any, clicks: Splits) -> None:
    made = tuned(trained_mlp, clicks, codec=RowwiseLookup(2, choice="max"))
    notes = made.history[-1].notes
    assert notes["kept"] == "tuned" and notes["validation_auc"]["tuned"] > notes["validation_auc"]["coded"] + 5e-4
    coded = EncodeTables(RowwiseLookup(2, choice="max")).apply(Candidate(trained_mlp, clicks.schema), clicks, seed=0)
    before, after = (one.model.get_layer("table").stored()["scales"].view(np.float16) for one in (coded, made))
    assert (before != after).mean() > 0.3 and np.array_equal(before == 0, after == 0)
    content = Export("int8", calibration_rows=512).to_bytes(made.model, clicks)
    assert audit_file(content, made.model, clicks, mode="int8").operators["EMBEDDING_LOOKUP"] == 1


def test_a_training_that_ruins_it_is_not_kept(trained_mlp: Any, clicks: Splits) -> None:
    ruined = tuned(trained_mlp, clicks, codec=Int4(), learning_rate=3.0, weight=0.0)
    coded = EncodeTables(Int4()).apply(Candidate(trained_mlp, clicks.schema), clicks, seed=0)
    notes = ruined.history[-1].notes
    assert notes["kept"] == "coded" and notes["validation_auc"]["tuned"] < notes["validation_auc"]["coded"]
    for own, wanted in zip(ruined.model.get_weights(), coded.model.get_weights(), strict=True):
        np.testing.assert_array_equal(own, wanted)


def test_the_dense_part_can_stay_frozen(trained_mlp: Any, clicks: Splits) -> None:
    candidate = tuned(trained_mlp, clicks, dense=False)
    made = candidate.model
    assert candidate.history[-1].notes["kept"] == "tuned"
    for layer in trained_mlp.layers:
        if layer.name != "table":
            assert made.get_layer(layer.name).trainable == layer.trainable
            for own, wanted in zip(made.get_layer(layer.name).get_weights(), layer.get_weights(), strict=True):
                np.testing.assert_array_equal(own, wanted)


def test_in_two_steps_it_is_the_same(coarse: Candidate, coded: Candidate, clicks: Splits) -> None:
    """Rows of before are handed on, so that tuning need not start from rounded ones."""
    made = TuneTables(epochs=1).apply(coded, clicks, seed=0)
    np.testing.assert_array_equal(codes(made.model), codes(coarse.model))
    alone = TuneTables(epochs=1).apply(Candidate(coded.model, clicks.schema), clicks, seed=0)  # they are not known
    assert alone.history[-1].notes["kept"] == "tuned" and not np.array_equal(codes(alone.model), codes(coarse.model))


def test_a_second_tuning_goes_on_from_what_the_first_has_learned(
    coarse: Candidate, brief: Splits, teachers: list[Any]
) -> None:
    """In so small steps that nothing changes: the codes are those of the first, and a trained network teaches."""
    assert coarse.history[-1].notes["kept"] == "tuned"
    made = TuneTables(epochs=1, learning_rate=1e-9).apply(coarse, brief, seed=0)
    assert made.history[-1].notes["steps"]["table"]["changed_bytes"] == 0
    rows = first_rows(brief.validation.inputs, 200)
    np.testing.assert_allclose(keras_scores(teachers[0], rows), keras_scores(coarse.model, rows), atol=1e-6)
    np.testing.assert_array_equal(coarse.rows["table"], coarse.model.get_layer("table").table())


def test_what_a_tuning_that_was_not_kept_has_learned_is_forgotten(trained_mlp: Any, brief: Splits) -> None:
    ruined = tuned(trained_mlp, brief, codec=Int4(), learning_rate=3.0, weight=0.0)
    assert ruined.history[-1].notes["kept"] == "coded"
    np.testing.assert_array_equal(ruined.rows["table"], trained_mlp.get_layer("table").get_weights()[0])


def test_features_with_codecs_of_their_own_learn_too(trained_mlp: Any, clicks: Splits) -> None:
    made = tuned(trained_mlp, clicks, codec={"id_0": COARSE, "id_1": Float16()})
    before = EncodeTables({"id_0": COARSE, "id_1": Float16()})
    coded = before.apply(Candidate(trained_mlp, clicks.schema), clicks, seed=0).model.get_layer("table").stored()
    after = made.model.get_layer("table").stored()
    differs = {key for key in after if not np.array_equal(coded[key], after[key])}
    kinds = {key: part["kind"] for key, part in made.model.get_layer("table").get_config()["inner"].items()}
    assert {kinds[key[:7]].split(">")[-1] for key in differs} == {"IntegerLookup", "FloatLookup"}


def test_zeros_of_kernels_stay(pruned: Candidate, clicks: Splits) -> None:
    zeros = pruned.model.get_layer("dense_0").get_weights()[0] == 0
    made = TuneTables(COARSE, epochs=1).apply(pruned, clicks, seed=0)
    kernel = made.model.get_layer("dense_0").get_weights()[0]
    assert zeros.mean() > 0.6 and not kernel[zeros].any() and made.history[-1].notes["kept"] == "tuned"


def test_a_network_without_codes_is_refused(trained_mlp: Any, clicks: Splits) -> None:
    with pytest.raises(PlanError, match=r"TuneTables finds no coded table in 'mlp'.*Fix: chain\(EncodeTables"):
        TuneTables().check(trained_mlp, clicks.schema)
    half = EncodeTables(Float16()).apply(Candidate(trained_mlp, clicks.schema), clicks, seed=0)
    with pytest.raises(PlanError, match=r"no codes in .mlp. that can learn.*Fix:"):
        TuneTables().apply(half, clicks, seed=0)
    with pytest.raises(PlanError, match=r"step 1 \(TuneTables\): TuneTables finds no coded table"):
        chain(TuneTables(), Export("int8")).check(trained_mlp, clicks.schema)
    chain(EncodeTables(), TuneTables(), Export("int8")).check(trained_mlp, clicks.schema)


@pytest.mark.parametrize(
    "codec", [Float16(), Grouped((Float16(), Float16()), (5,)), RareRows(Float16(), min_count=3)], ids=repr
)
def test_codes_that_cannot_learn_are_refused_before_anything_is_trained(
    codec: Any, trained_mlp: Any, clicks: Splits
) -> None:
    message = r"TuneTables finds no codes in .mlp. that can learn.*Fix:"
    with pytest.raises(PlanError, match=message):
        TuneTables(codec).check(trained_mlp, clicks.schema)
    with pytest.raises(PlanError, match=rf"step 2 \(TuneTables\): {message}"):
        chain(EncodeTables(codec), TuneTables(), Export("int8")).check(trained_mlp, clicks.schema)
    with pytest.raises(PlanError, match=rf"step 2 \(TuneTables\): {message}"):
        tiny(width=16, codec=codec).check(trained_mlp, clicks.schema)
    coded = EncodeTables(codec).apply(Candidate(trained_mlp, clicks.schema), clicks, seed=0)
    with pytest.raises(PlanError, match=message):
        TuneTables().check(coded.model, clicks.schema)
    chain(EncodeTables({"id_0": codec}), TuneTables()).check(trained_mlp, clicks.schema)  # the others are floats


@pytest.mark.parametrize("change", [{"codec": 3}, {"epochs": 0}, {"learning_rate": -1.0}, {"weight": 2.0}])
def test_settings_out_of_range_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=f"{next(iter(change))} is.*Fix:"):
        TuneTables(**change)


def test_it_survives_json() -> None:
    plan = chain(TuneTables({"id_0": Int2("field")}, epochs=2, teachers=("a.keras",)), Export("int8"))
    assert Plan.from_json(plan.to_json()) == plan


def test_codebooks_learn_and_rows_choose_anew_in_a_short_training_too(trained_mlp: Any, clicks: Splits) -> None:
    coarse = ProductQuantization(1, centroids=4)
    coded = EncodeTables(coarse).apply(Candidate(trained_mlp, clicks.schema), clicks, seed=0).model.get_layer("table")
    made = tuned(trained_mlp, clicks, codec=coarse)
    notes, after = made.history[-1].notes, made.model.get_layer("table").stored()
    assert notes["kept"] == "tuned" and notes["validation_auc"]["tuned"] > notes["validation_auc"]["coded"] + 0.002
    assert notes["steps"]["table"]["changed_bytes"] > 0
    assert np.abs(after["codebooks"] - coded.stored()["codebooks"]).max() > 1e-3


@pytest.mark.parametrize(("epochs", "usual", "times"), [(1, 200, 1), (3, 200, 2), (3, 2, 5)])
def test_short_trainings_choose_codes_anew_after_each_third(
    epochs: int, usual: int, times: int, trained_mlp: Any, brief: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four steps an epoch; not near the end."""
    settled: list[Any] = []

    def settle(table: Any) -> None:
        settled.append(table)

    monkeypatch.setattr("tfshop.compression.tune_tables.SETTLE_EVERY", usual)
    monkeypatch.setattr("tfshop.tables.codebook_tuning.TunedCodebooks.settle", settle)
    tuned(trained_mlp, brief, codec=ProductQuantization(1, centroids=6), epochs=epochs)
    assert len(settled) == times
