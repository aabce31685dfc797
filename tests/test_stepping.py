"""The next plan is a little gentler, or a little smaller, and one day there is none."""

from __future__ import annotations

import pytest

from tfshop.compression import (
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
from tfshop.export import Export, Plan, chain
from tfshop.recipes import tiny
from tfshop.stepping import gentler, smaller
from tfshop.tables import Grouped, Hashed, Int1, Int2, Int4, Int8, ProductQuantization, RowwiseLookup

STUDENT = {"dimension": 8, "hidden": (50, 20)}


def steps(plan: Plan | None, step) -> list[Plan]:
    """The plan and all that follow it."""
    seen = []
    while plan is not None:
        seen.append(plan)
        assert len(seen) < 30, "it never ends"
        plan = step(plan)
    return seen


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (chain(Prune(0.8)), chain(Prune(0.6))),
        (chain(Prune(0.3), QAT()), chain(QAT())),
        (chain(Distill(STUDENT), Prune(0.5)), chain(Distill({"dimension": 8, "hidden": (100, 40)}), Prune(0.5))),
        (chain(LowRank(0.9)), chain(LowRank(0.95))),
        (chain(LowRank(rank={"dense_1": 4, "dense_2": 0.1})), chain(LowRank(rank={"dense_1": 8, "dense_2": 0.2}))),
        (chain(LowRank(max_multiplies=0.3), Prune(0.5)), chain(LowRank(max_multiplies=0.6), Prune(0.5))),
        (chain(LowRank(max_bytes=0.6), QAT()), chain(QAT())),
        (chain(PruneUnits(0.9), Export("int8")), chain(PruneUnits(0.7), Export("int8"))),
        (chain(PruneUnits(0.3), QAT()), chain(QAT())),
        (chain(PruneUnits(multiplies=0.25, minimum=8)), chain(PruneUnits(multiplies=0.5, minimum=8))),
        (chain(PruneUnits(multiplies=0.6), QAT()), chain(QAT())),
        (chain(Cluster(16, epochs=2)), chain(Cluster(32, epochs=2))),
        (chain(AllocateTables(max_bytes=0.1), TuneTables()), chain(AllocateTables(max_bytes=0.2), TuneTables())),
        (chain(AllocateTables(max_bytes=3_000_000)), chain(AllocateTables(max_bytes=6_000_000))),
        (chain(AllocateTables(max_auc_drop=1e-3)), chain(AllocateTables(max_auc_drop=5e-4))),
        (chain(TuneTables(Int2("field", grid="mid-rise"))), chain(TuneTables(Int4("field")))),
        (chain(EncodeTables(Int4("row", "max"))), chain(EncodeTables(Int8("row", "max")))),
        (
            chain(TuneTables({"name": Int2("field"), "shop": Int8()})),
            chain(TuneTables({"name": Int4("field"), "shop": Int8()})),
        ),
        (chain(EncodeTables(Hashed(64))), chain(EncodeTables(Hashed(64)), QAT())),
        (chain(Prune(0.8), EncodeTables(Int2())), chain(Prune(0.8), EncodeTables(Int4()))),
        (
            chain(Distill(shrink={"width": 64}), TuneTables("Int8")),
            chain(Distill(shrink={"width": 128}), TuneTables("Int8")),
        ),
        (chain(Cluster(200)), chain(Cluster(256))),
        (chain(Cluster(256)), chain()),
        (chain(DropFeatures(("hour", "user"))), chain(DropFeatures(("hour",)))),
        (chain(DropFeatures(("hour",)), QAT()), chain(QAT())),
        (chain(DropFeatures(max_auc_drop=1e-3)), chain(DropFeatures(max_auc_drop=5e-4))),
        (chain(DropFeatures(max_auc_drop=1e-4), QAT()), chain(QAT())),
        (chain(Prune(0.3), PruneUnits(0.5)), chain(PruneUnits(0.5))),
        (chain(Equalize(), Cluster(64)), chain(Equalize(), Cluster(128))),
        (chain(Equalize()), chain(Equalize(), QAT())),
        (chain(Equalize(), QAT()), chain(Export("float16"))),
        (chain(Export("int8", 99)), chain(QAT(), Export("int8", 99))),
        (chain(QAT(), Export("int8", 99)), chain(Export("float16", 99))),
        (chain(QAT(), Export("int8_io")), chain(Export("float16"))),
        (chain(Export("dynamic")), chain(Export("float16"))),
        (chain(Export("int16x8")), chain(Export("float16"))),
        (chain(Export("float16")), None),
        (chain(Export("float32")), None),
    ],
)
def test_a_gentler_plan_loses_less(plan: Plan, expected: Plan | None) -> None:
    assert gentler(plan) == expected


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (chain(Export("float32", 99)), chain(Export("float16", 99))),
        (chain(Prune(0.5), Export("float16")), chain(Prune(0.5), Export("int8"))),
        (chain(Distill(STUDENT), Prune(0.5)), chain(Distill({"dimension": 4, "hidden": (25, 10)}), Prune(0.5))),
        (chain(Distill({"dimension": 3, "hidden": (1,)})), chain(Distill({"dimension": 2, "hidden": (1,)}))),
        (chain(Distill({"dimension": 2, "hidden": (8,)})), None),
        (chain(Prune(0.5), QAT()), chain(Distill(), Prune(0.5), QAT())),
        (chain(Export("int8")), chain(Distill(), Export("int8"))),
        (chain(EncodeTables("Int8")), chain(EncodeTables("Int4"))),
        (chain(EncodeTables("Int8"), Export("float32")), chain(EncodeTables("Int8"), Export("float16"))),
        (chain(EncodeTables(Int2("field"))), chain(Distill(), EncodeTables(Int2("field")))),
        (chain(TuneTables(Int2("field"))), chain(TuneTables(Int1("field")))),
        (chain(EncodeTables(Int2("table")), TuneTables()), chain(EncodeTables(Int1("table")), TuneTables())),
        (
            chain(EncodeTables({"name": "Float16", "shop": Int2()})),
            chain(EncodeTables({"name": "Int8", "shop": Int2()})),
        ),
        (
            chain(EncodeTables(Grouped((Int8(), Int2()), (0.8,)))),
            chain(EncodeTables(Grouped((Int4(), Int2()), (0.8,)))),
        ),
        (chain(EncodeTables(ProductQuantization(4))), chain(EncodeTables(ProductQuantization(2)))),
        (chain(EncodeTables(RowwiseLookup(4))), chain(EncodeTables(RowwiseLookup(2)))),
        (chain(AllocateTables(max_bytes=5_001)), chain(AllocateTables(max_bytes=2_500))),
        (chain(AllocateTables(max_bytes=0.1)), chain(AllocateTables(max_bytes=0.05))),
        (chain(AllocateTables(max_bytes=0.05)), chain(Distill(), AllocateTables(max_bytes=0.05))),
        (chain(AllocateTables(max_auc_drop=1e-3)), chain(AllocateTables(max_auc_drop=2e-3))),
        (chain(AllocateTables(max_auc_drop=1e-2)), chain(Distill(), AllocateTables(max_auc_drop=1e-2))),
    ],
)
def test_a_smaller_plan_makes_a_smaller_file(plan: Plan, expected: Plan | None) -> None:
    assert smaller(plan) == expected


def test_tables_and_the_rest_become_gentler_in_turns() -> None:
    """Half of the attempts give tables more bytes, whatever else there is to make gentler."""
    found, plan = [], tiny()
    for turn in range(5):
        made = gentler(plan, turn=turn)
        assert made is not None
        found.append((made.passes[0].shrink["width"], made.passes[1].max_bytes))
        plan = made
    assert found == [(64, 0.09), (128, 0.09), (128, 0.18), (256, 0.18), (256, 0.36)]
    assert gentler(chain(Prune(0.8), Cluster(16)), turn=0) == gentler(chain(Prune(0.8), Cluster(16)), turn=1)


def test_what_does_not_work_is_passed_over() -> None:
    plan = chain(Prune(0.8), TuneTables("Int2"), Export("int8"))
    assert gentler(plan, lambda other: other.passes[1] == plan.passes[1]) == chain(Prune(0.6), TuneTables("Int2"))
    assert gentler(plan, lambda _: False) is None
    assert smaller(plan, lambda other: isinstance(other.passes[0], Distill)) == chain(Distill(), *plan.passes)


def test_another_number_format_is_stripped_as_the_first_was() -> None:
    assert gentler(chain(QAT(), Export("int8", ranges="mse", strip=True))) == chain(Export("float16", strip=True))
    assert smaller(chain(Export("float32", strip=True))) == chain(Export("float16", strip=True))
    assert smaller(chain(Export("float32"))) == chain(Export("float16"))


@pytest.mark.parametrize(
    ("plan", "step", "most"),
    [
        (chain(Prune(0.95), QAT()), gentler, 6),
        (chain(DropFeatures(), PruneUnits(0.9), Cluster(16), QAT()), gentler, 14),
        (chain(Distill(shrink={"width": 0.5, "dimension": 8, "depth": 2})), smaller, 4),
        (chain(Prune(0.95), QAT()), smaller, 6),
        (chain(Distill(STUDENT), Prune(0.9), QAT()), gentler, 14),
        (chain(Distill(STUDENT), Export("float32")), smaller, 5),
        (chain(EncodeTables("Int8"), Export("float32")), smaller, 9),
        (chain(AllocateTables(max_bytes=0.1), TuneTables("Int2")), gentler, 8),
    ],
)
def test_steps_end_and_never_repeat(plan: Plan, step, most: int) -> None:
    seen = steps(plan, step)
    assert all(one != other for position, one in enumerate(seen) for other in seen[:position])
    assert most / 2 < len(seen) <= most


def test_a_students_other_settings_are_kept() -> None:
    plan = chain(Distill({**STUDENT, "dropout": 0.1}, weight=0.4, temperature=3.0, epochs=7))
    for other in (gentler(plan), smaller(plan)):
        assert other is not None
        step = other.passes[0]
        assert (step.weight, step.temperature, step.epochs, step.student["dropout"]) == (0.4, 3.0, 7, 0.1)


def test_a_student_left_to_its_defaults_becomes_wider_too() -> None:
    wider = gentler(chain(Distill()))
    assert wider is not None and wider.passes[0].student == {"dimension": 16, "hidden": (200, 200, 200)}


def test_a_student_becomes_no_wider_than_is_sensible() -> None:
    assert gentler(chain(Distill({"hidden": (4000,)}), Export("float16"))) is None


def test_where_none_of_ours_can_be_built_the_student_is_of_the_same_make() -> None:
    def shrinks(plan: Plan) -> bool:
        return plan.passes[0].shrink is not None

    def has_tables_alone(plan: Plan) -> bool:
        return shrinks(plan) and "width" not in plan.passes[0].shrink

    plan = chain(Prune(0.5), Export("int8"))
    assert smaller(plan, shrinks) == chain(Distill(shrink={"width": 0.5, "dimension": 0.5}), Prune(0.5))
    assert smaller(plan, has_tables_alone) == chain(Distill(shrink={"dimension": 0.5}), Prune(0.5))
    assert smaller(plan, lambda _: False) is None
