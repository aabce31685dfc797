"""A plan is checked on the networks its steps will leave, before any of them is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from foreign.styles import plain

import tfshop as ts
from tfshop.compression import (
    AllocateTables,
    Candidate,
    Cluster,
    Distill,
    DropFeatures,
    EncodeTables,
    Equalize,
    LowRank,
    Prune,
    PruneUnits,
    TuneTables,
)
from tfshop.compression.thresholds import Threshold
from tfshop.data import Splits
from tfshop.errors import PlanError
from tfshop.export import Export, Plan, chain
from tfshop.models.rebuild import inlined
from tfshop.pipeline import Goal, pursue

ALL_BUT_ONE = ("id_0", "id_1", "id_2", "number_0", "number_1")


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was trained."""
    seen: list[str] = []
    for module in ("tfshop.compression.teaching", "tfshop.compression.distill"):
        monkeypatch.setattr(f"{module}.fit", lambda model, *_, **__: seen.append(model.name))
    return seen


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (chain(PruneUnits(0.99), PruneUnits(0.5)), r"step 2 \(PruneUnits\): PruneUnits finds no units"),
        (chain(PruneUnits(0.99), PruneUnits(multiplies=0.5)), r"step 2 \(PruneUnits\): PruneUnits finds no units"),
        (chain(Distill({"hidden": (4,)}), PruneUnits(0.5)), r"step 2 \(PruneUnits\): PruneUnits finds no units"),
        (chain(PruneUnits(0.99), Cluster(256)), r"step 2 \(Cluster\): Cluster finds no layer"),
        (chain(Prune(0.99), Cluster(64)), r"step 2 \(Cluster\): Cluster finds no layer"),
        (chain(PruneUnits(0.99), Prune(0.75, pattern="1:4", layers={"dense_1": 0}), Cluster(128)), r"step 3 \(Cluster"),
        (chain(LowRank(rank=1), Cluster(64)), r"step 2 \(Cluster\): Cluster finds no layer"),
        (chain(PruneUnits(0.99), LowRank(max_bytes=100)), r"step 2 \(LowRank\): max_bytes is 100"),
        (chain(PruneUnits(0.9), LowRank(rank=7)), r"step 2 \(LowRank\): LowRank finds no kernel"),
        (chain(DropFeatures(ALL_BUT_ONE), DropFeatures(("hist_id_0",))), r"step 2 \(DropFeatures\).*'hist_id_0'"),
        (chain(DropFeatures(("number_0", "number_1")), Equalize(layers=False)), r"step 2 \(Equalize\): .*nothing to"),
    ],
    ids=str,
)
def test_what_cannot_work_on_what_a_step_leaves_is_refused_before_anything_is_trained(
    plan: Plan, message: str, trained_mlp: Any, brief: Splits, trainings: list[str]
) -> None:
    with pytest.raises(PlanError, match=message):
        ts.compress(trained_mlp, brief, plan)
    assert trainings == []
    Plan(plan.passes[:-1], plan.exporter).check(trained_mlp, brief.schema)  # the step alone is at fault


@pytest.mark.parametrize(
    "plan",
    [
        chain(PruneUnits(0.9), PruneUnits(0.9)),
        chain(PruneUnits(0.99, scope="global"), PruneUnits(0.5)),
        chain(PruneUnits(multiplies=0.3), PruneUnits(multiplies=0.1)),
        chain(Prune(0.9), Cluster(64)),
        chain(Prune(0.99, scope="global"), Cluster(64)),
        chain(Prune(threshold=Threshold("quantile", 0.99)), Cluster(64)),
        chain(LowRank(), Cluster(64)),
        chain(DropFeatures(("id_0",)), DropFeatures(("id_1",)), PruneUnits(0.5), LowRank(rank=4), Prune(0.5)),
        chain(DropFeatures(), DropFeatures(("id_1",))),
    ],
    ids=str,
)
def test_what_may_work_is_let_through(plan: Plan, trained_mlp: Any, brief: Splits) -> None:
    assert plan.check(trained_mlp, brief.schema) is None


@pytest.mark.parametrize(
    "step", [PruneUnits(0.6, multiple_of=4, epochs=0), DropFeatures(("id_0", "number_1"), epochs=0)]
)
@pytest.mark.parametrize("network", ["mlp", "dcn"])
def test_what_is_foreseen_has_the_shapes_of_what_comes(
    step: Any, network: str, trained: Callable[[str], Any], brief: Splits
) -> None:
    model = trained(network)
    before = [weight.copy() for weight in model.get_weights()]
    foreseen = step.foreseen(model, brief.schema)
    made = step.apply(Candidate(model, brief.schema), brief, seed=0).model
    assert {w.name: tuple(w.shape) for w in foreseen.weights} == {w.name: tuple(w.shape) for w in made.weights}
    assert all((one == other).all() for one, other in zip(before, model.get_weights(), strict=True))


def test_zeros_are_foreseen_in_number(trained_mlp: Any, brief: Splits) -> None:
    step = Prune(0.7, schedule="one_shot", epochs=0, importance="random", layers={"dense_1": 0.2})
    foreseen, made = (
        step.foreseen(trained_mlp, brief.schema),
        step.apply(Candidate(trained_mlp, brief.schema), brief, seed=0).model,
    )
    zeros = [
        {layer.name: int((layer.get_weights()[0] == 0).sum()) for layer in model.layers if layer.weights}
        for model in (foreseen, made)
    ]
    assert zeros[0] == zeros[1] and zeros[0]["dense_1"] > 0
    assert inlined(trained_mlp).get_layer("dense_1").get_weights()[0].all()


OF_ITEMS = Prune(0.5, layers={"table_id_0": 0.8})  # an Embedding of a feature of its own


@pytest.mark.parametrize(
    "coder",
    [EncodeTables(), EncodeTables({"id_0": "Int8"}), AllocateTables(max_auc_drop=0.001), TuneTables("Int2")],
    ids=lambda step: step.name,
)
def test_tables_pruned_by_name_are_not_coded_afterwards(coder: Any, clicks: Splits) -> None:
    message = (
        rf"step 3 \({coder.name}\) comes after Prune and would undo its zeros in 'table_id_0', which it codes\. "
        r"Expected each table to be pruned or coded, not both\. Fix: Prune\(layers=…\) without 'table_id_0', or"
    )
    with pytest.raises(PlanError, match=message):
        chain(OF_ITEMS, Equalize(), coder).check(plain(clicks.schema), clicks.schema)


@pytest.mark.parametrize(
    "steps",
    [
        (OF_ITEMS, EncodeTables({"id_1": "Int8"})),
        (EncodeTables({"id_1": "Int8"}), OF_ITEMS, TuneTables()),
        (OF_ITEMS, DropFeatures(("id_0",)), TuneTables("Int2")),
        (Prune(0.5, layers={"table_id_0": None}), EncodeTables()),
        (Prune(0.5, layers={"table": None}), EncodeTables()),
        (Prune(0.5, roles=("dense", "table"), layers={"table": 0}), TuneTables("Int2")),
    ],
    ids=lambda steps: ", ".join(step.name for step in steps),
)
def test_tables_that_are_pruned_or_coded_but_not_both_are_let_through(steps: tuple[Any, ...], clicks: Splits) -> None:
    assert chain(*steps).check(plain(clicks.schema), clicks.schema) is None


def test_a_pass_that_turns_out_not_to_work_is_left_out_and_said(
    trained_mlp: Any, brief: Splits, capsys: pytest.CaptureFixture[str]
) -> None:
    """How many weights lie below a threshold is known when they are scored: here too few are left to share."""
    plan = chain(Prune(threshold=Threshold("quantile", 0.9)), Cluster(250), Export("float32"))
    result = pursue(trained_mlp, brief, plan, Goal(timed=False))
    pruned, shared = result.candidate.history
    assert pruned.notes["sparsity"] > 0.8 and "more than 250 weights" in shared.notes["left_out"]
    assert "Cluster is left out" in " ".join(capsys.readouterr().err.split())
    assert any("Cluster was left out: Cluster finds no layer" in note for note in result.evaluation.notes)
    assert result.artifact.history[1]["notes"]["left_out"]
