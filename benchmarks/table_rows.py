"""The files of which `tables.py` makes rows, and what each of them follows from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import results
from table_data import LOGS, Log

import tfshop as ts
from tfshop.data.datasets.complete_journey import ID_COLUMNS
from tfshop.export import Plan
from tfshop.recipes import TWO_BITS
from tfshop.tables import (
    Float16,
    Float32,
    Grouped,
    Hashed,
    Int1,
    Int2,
    Int3,
    Int4,
    Int8,
    LowRankTable,
    MemCom,
    ProductQuantization,
    QuotientRemainder,
    RareRows,
    ResidualQuantization,
    RowwiseLookup,
)
from tfshop.training.fingerprint import digest_of_rows

PROMOTION = "promotion"
CODE = (
    "compression",
    "data",
    "evaluation",
    "export",
    "layers",
    "models",
    "numerics",
    "runtime",
    "tables",
    "training",
    "measuring.py",
    "pipeline.py",
)
STOCK = (
    "TFLiteConverter dynamic",
    "TFLiteConverter float16",
    "TFLiteConverter int8",
    "ai-edge dynamic_wi8_afp32",
    "ai-edge weight_only_wi8_afp32",
    "ai-edge dynamic_legacy_wi8_afp32",
    "ai-edge static_wi8_ai8",
    "ai-edge static_wi8_ai16",
    "ai-edge dynamic_wi4_afp32",
    "ai-edge dynamic_wi4b32_afp32",
    "ai-edge dynamic_wi4c_hr_afp32",
    "ai-edge weight_only_wi4_afp32",
    "ai-edge dynamic_wi2c_afp32",
    "ai-edge dynamic_wi2b32_afp32",
)
SMALL_BYTES = 0.0375  # 1.2 bits a number of a student's tables
NARROWER = 48  # units of a student's layers, where those of `recipes.tiny` have 64
Teachers = tuple[Any, ...]


@dataclass(frozen=True)
class Row:
    """One file: a plan for the network, with the help of more teachers; `logs` are those it is made of."""

    part: str
    name: str
    plan: Callable[[Teachers], Plan]
    logs: tuple[str, ...] = tuple(LOGS)

    @property
    def title(self) -> str:
        """By which it is kept."""
        return f"{self.part}: {self.name}"

    @property
    def is_taught(self) -> bool:
        """Whether its plan takes more teachers."""
        return self.part == "whole file"


def made_by(name: str, log: Log, seed: int) -> dict[str, str]:
    """Titles of all rows of a log and a seed to digests of what they follow from.

    That is the plan, its teachers, the network and its training, the rows of the log, the code, the processor and the
    versions; a row that was kept with another digest is none of today's.
    """
    common = (_start(log), seed)
    rows = {
        row.title: results.digest(row.plan(()).to_dict(), teacher_seeds(seed) if row.is_taught else (), *common)
        for row in ROWS
        if name in row.logs
    }
    return {**rows, **{f"stock: {route}": results.digest(route, *common) for route in STOCK}}


def teacher_seeds(seed: int) -> tuple[int, int]:
    """Of the second and third teacher of a network, beside itself; no two networks share one."""
    return 101 + 2 * seed, 102 + 2 * seed


@cache
def _start(log: Log) -> str:
    """Of all that the rows of a log have in common."""
    training = [dict(log.network), log.epochs, log.learning_rate]
    splits = [digest_of_rows(split) for split in (log.data.train, log.data.validation, log.data.test)]
    return results.digest(training, splits, results.code_digest(*CODE), results.made_on())


def after_training(name: str, codec: Any) -> Row:
    """A codec alone; the dense half stays in float32."""
    return Row("codes after training", name, lambda _: ts.chain(ts.EncodeTables(codec), ts.Export("float32")))


def allocated(name: str, **budget: Any) -> Row:
    """Uneven bits alone."""
    return Row("codes after training", name, lambda _: ts.chain(ts.AllocateTables(**budget), ts.Export("float32")))


def tuned(name: str, codec: Any, **settings: Any) -> Row:
    """A codec, then an epoch or more through its rounding."""
    return Row("tuned", name, lambda _: ts.chain(ts.TuneTables(codec, **settings), ts.Export("float32")))


def whole(name: str, plan: Callable[[Teachers], Plan], *logs: str) -> Row:
    """Everything: tables and dense half."""
    return Row("whole file", name, plan, logs or tuple(LOGS))


def steps(teachers: Teachers, *passes: Any, mode: str = "int8") -> Plan:
    """The student of `recipes.tiny`, and other passes after it."""
    return ts.chain(ts.recipes.tiny(teachers=teachers).passes[0], *passes, ts.Export(mode))


def knowing(teachers: Teachers) -> Plan:
    """The student of `recipes.tiny` as it was before it read ids as unknown."""
    return ts.chain(replace(ts.recipes.tiny(teachers=teachers).passes[0], unknown_ids=False), ts.Export("int8"))


def labelled(shrink: dict[str, Any], epochs: int, mode: str = "int8") -> Callable[[Teachers], Plan]:
    """A control: the smaller network without any teacher."""
    return lambda _: ts.chain(ts.Distill(shrink=shrink, epochs=epochs, weight=0.0), ts.Export(mode))


def tiny(**settings: Any) -> Callable[[Teachers], Plan]:
    """`recipes.tiny` with other settings, not stripped."""
    return lambda teachers: ts.chain(*ts.recipes.tiny(teachers=teachers, **settings).passes, ts.Export("int8"))


def small(**settings: Any) -> Callable[[Teachers], Plan]:
    """`recipes.tiny` with 1.2 bits a number, and other settings."""
    return lambda teachers: ts.recipes.tiny(max_bytes=SMALL_BYTES, teachers=teachers, **settings)


def narrower(*passes: Any, mode: str = "int8") -> Callable[[Teachers], Plan]:
    """A narrower student than that of `recipes.tiny`, and other passes after it."""
    return lambda more: ts.chain(ts.recipes.tiny(NARROWER, teachers=more).passes[0], *passes, ts.Export(mode))


ONE_BIT = Int1("field")
LARGE = ("product_id", "manufacturer_id", "product_type", "package_size")
BY_HAND = {name: ONE_BIT if name in LARGE else TWO_BITS for name in ID_COLUMNS}
TAIL = (0.9,)
STUDENT = dict(ts.recipes.tiny().passes[0].shrink)
UNEVEN = ts.recipes.tiny().passes[1]
THREE = {"epochs": 3, "learning_rate": 2e-3}
ROWS = (
    after_training("Float16", Float16()),
    after_training("Int8, a row", Int8()),
    after_training("Int4, a row", Int4()),
    after_training("Int4, a field", Int4("field")),
    after_training("Int3, a row", Int3()),
    after_training("Int2, a row", Int2()),
    after_training("Int2, a field", Int2("field")),
    after_training("product quantization, 8 codes", ProductQuantization(8)),
    after_training("product quantization, 4 codes", ProductQuantization(4)),
    after_training("product quantization, 2 codes", ProductQuantization(2)),
    after_training("residual quantization, 4 codes", ResidualQuantization(4)),
    after_training("residual quantization, 2 codes", ResidualQuantization(2)),
    after_training("Int4, rows seen under 5 times folded", RareRows(Int4(), min_count=5)),
    after_training("control: the same fold, in float", RareRows(Float32(), min_count=5)),
    after_training("rank 8 of 16, Int8", LowRankTable(8)),
    after_training("RowwiseLookup, 4 bits", RowwiseLookup(4)),
    after_training("half of the lookups in Int4, the rest in Int2", Grouped((Int4("field"), Int2("field")), (0.5,))),
    after_training("a tenth of the lookups hashed, Int4", Grouped((Int4("field"), Hashed(1024)), TAIL)),
    after_training("a tenth by quotient and remainder, Int4", Grouped((Int4("field"), QuotientRemainder(256)), TAIL)),
    after_training("a tenth by MemCom, Int4", Grouped((Int4("field"), MemCom(256)), TAIL)),
    allocated("allocated, an eighth of the bytes", max_bytes=0.125),
    allocated("allocated, a sixteenth", max_bytes=0.0625),
    allocated("allocated, 0.0005 of validation AUC", max_auc_drop=0.0005),
    tuned("Int2, a field", TWO_BITS),
    tuned("Int1, a field", ONE_BIT, **THREE),
    tuned("Int1, a field, labels alone", ONE_BIT, weight=0.0, **THREE),
    tuned("product quantization, 2 codes", ProductQuantization(2)),
    whole("int8, tables in one int8 scale", lambda _: ts.recipes.int8()),
    whole("Int2 tuned, int8", lambda more: ts.chain(ts.TuneTables(TWO_BITS, teachers=more), ts.Export("int8"))),
    whole("student", lambda more: steps(more, mode="float32")),
    whole("student, int8", steps),
    whole("student that reads no id as unknown, int8", knowing),
    whole("control: the student without a teacher, int8", labelled(STUDENT, ts.recipes.NARROW_EPOCHS), PROMOTION),
    whole("control: dimension 8 in float, without a teacher", labelled({"dimension": 8}, 2, "float32"), PROMOTION),
    whole("control: dimension 4 in float, without a teacher", labelled({"dimension": 4}, 2, "float32"), PROMOTION),
    whole("student, Int2 coded, int8", lambda more: steps(more, ts.EncodeTables(TWO_BITS))),
    whole("student, Int2 tuned, int8", tiny(codec=TWO_BITS)),
    whole("student, allocated 1.4 bits a number, int8", lambda more: steps(more, UNEVEN)),
    whole("student, allocated 1.4 bits a number, tuned, int8", tiny()),
    whole("recipes.tiny: 1.4 bits a number, tuned, int8, stripped", lambda more: ts.recipes.tiny(teachers=more)),
    whole("recipes.tiny(): one teacher", lambda _: ts.recipes.tiny()),
    whole("recipes.tiny(max_bytes=0.0375)", small(), PROMOTION),
    whole("recipes.tiny(bits=4)", lambda more: ts.recipes.tiny(bits=4, teachers=more)),
    whole("student of 48-48", narrower(mode="float32"), PROMOTION),
    whole("student of 48-48, int8", narrower(), PROMOTION),
    whole("student of 48-48, allocated 1.4 bits a number, int8", narrower(UNEVEN), PROMOTION),
    whole("recipes.tiny(48)", lambda more: ts.recipes.tiny(NARROWER, teachers=more), PROMOTION),
    whole("recipes.tiny(48, max_bytes=0.0375)", small(width=NARROWER), PROMOTION),
    whole("recipes.tiny(bits=4, max_bytes=0.0375)", small(bits=4), PROMOTION),
    whole("student, large tables in 1 bit, others in 2, tuned, int8", tiny(codec=BY_HAND), PROMOTION),
    whole("student, Int1 tuned, int8", tiny(codec=ONE_BIT)),
    whole("student, allocated, 1.1 bits a number, tuned, int8", tiny(max_bytes=0.0345)),
    whole("student of dimension 4, Int2 tuned, int8", tiny(codec=TWO_BITS, dimension=4)),
    whole("student of 100-100-100, Int2 tuned, int8", tiny(width=100, codec=TWO_BITS, depth=3), PROMOTION),
)
