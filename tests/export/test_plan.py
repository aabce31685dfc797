"""A plan is plain data, and an order that cannot work is refused."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest

from tfshop import recipes
from tfshop.compression import (
    PASSES,
    QAT,
    AllocateTables,
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
from tfshop.data import Splits
from tfshop.errors import PlanError
from tfshop.export import Export, Plan, chain

PLANS = (
    chain(),
    chain(Export("float16")),
    chain(
        Prune(0.8, schedule="constant", roles=("dense",), epochs=3, learning_rate=1e-4), QAT(), Export("int8_io", 64)
    ),
    chain(Distill({"dimension": 4, "hidden": (8, 4)}, family="mlp", weight=0.5, temperature=2.0), Prune(0.3)),
)


@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_a_plan_survives_json_unchanged(plan: Plan) -> None:
    again = Plan.from_json(plan.to_json())
    assert again == plan
    assert again.to_dict() == plan.to_dict() == json.loads(plan.to_json())


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_a_recipe_is_a_plan_that_survives_json(name: str, trained_mlp: Any, clicks: Splits) -> None:
    narrower = {"width": 16} if name in {"fast", "tiny"} else {}  # the network of the test is no wider than 64
    plan = recipes.RECIPES[name](**narrower)
    assert Plan.from_json(plan.to_json()) == plan
    plan.check(trained_mlp, clicks.schema)
    assert plan.exporter.mode == ("float16" if name == "float16" else "int8")


def test_the_smallest_file_may_have_kernels_of_four_bits() -> None:
    plain, smaller = recipes.tiny(), recipes.tiny(bits=4)
    assert [type(step) for step in smaller.passes] == [*map(type, plain.passes), QAT]
    assert smaller.passes[-1] == QAT(bits=4) and smaller.exporter.int4 and not plain.exporter.int4
    with pytest.raises(PlanError, match="bits is 3"):
        recipes.tiny(bits=3)


def test_a_plan_reads_as_one_would_type_it() -> None:
    plan = PLANS[2]
    assert eval(str(plan), {"chain": chain, "Prune": Prune, "QAT": QAT, "Export": Export}) == plan  # noqa: S307


def test_a_pass_that_cannot_do_without_a_setting_reads_likewise() -> None:
    plan = chain(AllocateTables(max_bytes=50_000), Export("int8"))
    assert str(plan) == "chain(AllocateTables(50000), Export('int8'))"


def test_without_an_exporter_the_file_is_int8() -> None:
    assert chain(Prune(0.5)) == chain(Prune(0.5), Export("int8"))


def test_passes_can_be_changed_and_the_exporter_stays() -> None:
    assert PLANS[2].with_passes(QAT()) == chain(QAT(), Export("int8_io", 64))


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ((Prune(0.5), Distill()), "(Distill) comes after Prune and would undo its zeros"),
        ((PruneUnits(), Distill()), "(Distill) comes after PruneUnits and would undo its smaller layers"),
        ((DropFeatures(), Distill()), "(Distill) comes after DropFeatures and would undo its fewer features"),
        ((Equalize(), Distill()), "(Distill) comes after Equalize and would undo its equal scales"),
        (
            (Prune(0.5, pattern="2:4"), PruneUnits()),
            "(PruneUnits) comes after Prune and would undo its pattern of zeros",
        ),
        (
            (Prune(0.5, pattern="block 4x4"), DropFeatures()),
            "(DropFeatures) comes after Prune and would undo its pattern",
        ),
        ((Prune(0.5, roles=("table",)), EncodeTables()), "would undo its zeros or shared numbers in tables"),
        ((Prune(0.5, layers={"table": 0.5}), TuneTables()), "would undo its zeros or shared numbers in tables"),
        ((Cluster(16, roles=("table",)), EncodeTables()), "would undo its zeros or shared numbers in tables"),
        ((Distill(), Prune(0.5), Distill()), "step 3 (Distill) comes after Prune"),
        ((QAT(), Prune(0.5)), "step 2 (Prune) comes after QAT"),
        ((Prune(0.2), QAT(), Distill()), "step 3 (Distill) comes after QAT"),
        ((QAT(), QAT()), "step 2 (QAT) comes after QAT"),
        ((QAT(), Export("float16")), "QAT trains for int8, but the plan exports float16"),
        ((QAT(), Export("dynamic")), "QAT trains for int8, but the plan exports dynamic"),
        ((Export("int8"), Prune(0.5)), "Export has to be the last step, once"),
        ((Export("int8"), Export("float16")), "Export has to be the last step, once"),
        ((Prune,), "is no pass. Expected instances of Prune, "),
        (("Prune",), "step 1 is 'Prune', which is no pass"),
        ((Prune(0.5), None), "step 2 is None, which is no pass"),
    ],
)
def test_an_order_that_cannot_work_is_refused(steps: tuple[Any, ...], message: str) -> None:
    with pytest.raises(PlanError, match=re.escape(message)):
        chain(*steps)


REFUSED = {  # an earlier pass, and what may not come after it
    "Prune": {"LowRank", "Distill"},
    "PruneUnits": {"Distill"},
    "DropFeatures": {"Distill"},
    "Equalize": {"Distill"},
    "EncodeTables": {"Distill", "DropFeatures"},
    "AllocateTables": {"Distill", "DropFeatures"},
    "TuneTables": {"Distill", "DropFeatures"},
    "Cluster": {"Prune", "PruneUnits", "DropFeatures", "Equalize", "Cluster", "LowRank", "Distill", "TuneTables"},
    "LowRank": {"LowRank", "Distill"},
    "QAT": set(PASSES),
    "Distill": set(),
}


def usual(name: str) -> Any:
    """A pass as it comes, with a budget where it has no usual one."""
    return PASSES[name](**({"max_auc_drop": 0.001} if name == "AllocateTables" else {}))


def test_of_all_orders_those_are_refused_that_would_undo_something() -> None:
    """The page on compression says the same in words."""
    refused: dict[str, set[str]] = {name: set() for name in PASSES}
    for first, second in itertools.product(PASSES, repeat=2):
        try:
            chain(usual(first), usual(second))
        except PlanError:
            refused[first].add(second)
    assert refused == REFUSED


def test_the_order_of_the_page_is_no_refused_one() -> None:
    names = (
        "Distill",
        "DropFeatures",
        "LowRank",
        "PruneUnits",
        "Prune",
        "EncodeTables",
        "AllocateTables",
        "TuneTables",
        "Equalize",
        "Cluster",
        "QAT",
    )
    assert set(names) == set(PASSES)
    chain(*map(usual, names), Export("int8"))


def test_the_exporters_class_is_no_exporter() -> None:
    with pytest.raises(PlanError, match="Export"):
        chain(Prune(0.5), Export)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"passes": [{"name": "Shrink"}], "exporter": {"mode": "int8"}},
            "no pass is called 'Shrink'. Expected one of Prune",
        ),
        ({"passes": [{"sparsity": 0.5}], "exporter": {}}, "no pass is called None"),
        (
            {"passes": [{"name": "Prune", "amount": 0.5}], "exporter": {}},
            "Prune has no hyperparameter amount. Expected some of sparsity",
        ),
        ({"passes": [], "exporter": {"mode": "int8", "rows": 5}}, "Export has no hyperparameter rows"),
        ({"passes": [{"name": "Prune", "sparsity": 2}], "exporter": {}}, "sparsity is 2"),
        ({"passes": [{"name": "QAT"}, {"name": "Prune"}], "exporter": {}}, "comes after QAT"),
        ({"passes": []}, "not readable: KeyError: 'exporter'"),
        ({"passes": [{"name": "Prune", "sparsity": "much"}], "exporter": {}}, "much|not readable"),
        ([], "not readable"),
    ],
)
def test_json_of_another_plan_is_refused(data: Any, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Plan.from_json(json.dumps(data))


def test_text_that_is_no_json_is_refused() -> None:
    with pytest.raises(PlanError, match=r"not readable: JSONDecodeError.*Expected JSON with 'passes' and 'exporter'"):
        Plan.from_json("chain(Prune(0.5))")


def test_a_refusal_names_the_step(trained_mlp: Any, clicks: Splits) -> None:
    with pytest.raises(PlanError, match=r"step 2 \(QAT\): QAT finds no layer with role cross"):
        chain(Prune(0.5), QAT(roles=("cross",))).check(trained_mlp, clicks.schema)
    with pytest.raises(PlanError, match=r"step 2 \(Export\): Export\('int8_io'\)"):
        chain(Prune(0.5), Export("int8_io")).check(trained_mlp, clicks.schema)


@pytest.mark.parametrize("step", [Prune(0.5, roles=("cross",)), QAT(roles=("cross",)), Export("int8_io")])
def test_what_cannot_work_on_the_student_is_refused_before_it_is_trained(
    step: Any, trained_mlp: Any, clicks: Splits
) -> None:
    """An mlp student has no crosses, and its file would meet the same missing numbers."""
    with pytest.raises(PlanError, match=rf"step 2 \({step.name}\)"):
        chain(Distill({"dimension": 4, "hidden": (8,)}), step).check(trained_mlp, clicks.schema)


def test_what_can_work_on_the_student_alone_is_let_through(trained_mlp: Any, clicks: Splits) -> None:
    plan = chain(
        Distill({"dimension": 4, "hidden": (8,), "num_crosses": 1}, family="dcn"), Prune(0.5, roles=("cross",))
    )
    plan.check(trained_mlp, clicks.schema)
    with pytest.raises(PlanError, match="cross"):  # the mlp itself has none
        chain(Prune(0.5, roles=("cross",))).check(trained_mlp, clicks.schema)


@pytest.mark.parametrize("ranks", [LowRank(), LowRank(rank=8), LowRank(max_bytes=0.5), LowRank(rank={"dense_1": 4})])
def test_steps_after_low_rank_may_name_its_factors(ranks: LowRank, trained_mlp: Any, clicks: Splits) -> None:
    for factors in ("dense_1_in", "dense_1"):
        chain(ranks, Prune(0.5, layers={factors: 0.2}), Export("int8", keep_float=(factors,))).check(
            trained_mlp, clicks.schema
        )
    for later in (Prune(0.5, layers={"dense_9_in": 0.2}), Export("int8", keep_float=("dense_9_in",))):
        with pytest.raises(PlanError, match=r"step 2 .*names 'dense_9_in', which is no layer"):
            chain(ranks, later).check(trained_mlp, clicks.schema)
    with pytest.raises(PlanError, match=r"step 1 .*names 'dense_1_in'"):  # they are not there yet
        chain(Prune(0.5, layers={"dense_1_in": 0.2})).check(trained_mlp, clicks.schema)


def test_fast_says_in_words_that_a_network_is_narrow_already(trained_mlp: Any, clicks: Splits) -> None:
    with pytest.raises(PlanError) as caught:
        recipes.fast(64, depth=9).check(trained_mlp, clicks.schema)
    assert "'mlp' has no hidden layer wider than 64 units and no tower deeper than 9" in str(caught.value)
    assert "Fix: Distill(shrink={'width': 32})." in str(caught.value) and "Shrinkage" not in str(caught.value)
