"""What codecs and tuning do to embedding tables, on exported files.

Run: `python benchmarks/tables.py` (about an hour a seed on two cores; `--quick` takes some minutes). A run that was cut
short goes on where it stopped; `--fresh` starts over.

Promotion response, mlp 400-400-400 with dimension 16. Every row is an exported file, audited, beside the float32 file
of the stock converter: bytes a row of the tables, bytes of tables, of the dense half and of the file, AUC with the
paired 95% interval of the difference on the test split. First each codec after training alone, the dense half in
float32; then with `TuneTables`; then whole files, as small as they get, with every step of `recipes.tiny` by itself;
beside them what the stock converter and ai-edge-quantizer make of the same network.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import results
from routes import ROUTES, Start

import tfshop as ts
from tfshop._console import say
from tfshop.compression import Candidate
from tfshop.data.datasets.complete_journey import ID_COLUMNS
from tfshop.data.split import Splits
from tfshop.evaluation.measured import Measured
from tfshop.measuring import measure_baseline
from tfshop.pipeline import Goal, pursue
from tfshop.runtime import bytes_by_part
from tfshop.tables import (
    Float16,
    Int1,
    Int2,
    Int3,
    Int4,
    Int8,
    LowRankTable,
    ProductQuantization,
    RareRows,
    ResidualQuantization,
)

DOCS = Path(__file__).parent.parent / "docs" / "tables.md"
HIDDEN, DIMENSION = (400, 400, 400), 16
EPOCHS, LEARNING_RATE = 2, 3e-3
MORE_TEACHERS = (101, 102)  # seeds of the second and third teacher
STOCK = (
    "TFLiteConverter dynamic",
    "TFLiteConverter float16",
    "TFLiteConverter int8",
    "ai-edge dynamic_wi8_afp32",
    "ai-edge weight_only_wi8_afp32",
    "ai-edge static_wi8_ai8",
    "ai-edge dynamic_wi4_afp32",
    "ai-edge weight_only_wi4_afp32",
)


@dataclass(frozen=True)
class Row:
    """One file: what is done to the network, by its teachers' help where it asks for it."""

    part: str
    name: str
    plan: Callable[[tuple[Any, ...]], Any]
    student: tuple[int, tuple[int, ...]] | None = None


def after_training(name: str, codec: Any) -> Row:
    """A codec alone; the dense half stays in float32."""
    return Row("codes after training", name, lambda _: ts.chain(ts.EncodeTables(codec), ts.Export("float32")))


def tuned(name: str, codec: Any, **settings: Any) -> Row:
    """A codec, then an epoch or more through its rounding."""
    return Row("tuned", name, lambda _: ts.chain(ts.TuneTables(codec, **settings), ts.Export("float32")))


def whole(
    name: str,
    *passes: Callable[[tuple[Any, ...]], Any],
    student: tuple[int, tuple[int, ...]] | None = None,
    mode: str = "int8",
) -> Row:
    """Everything: tables and dense half, of a student of all teachers (dimension, hidden) where one is asked for."""
    return Row("whole file", name, lambda more: ts.chain(*(make(more) for make in passes), ts.Export(mode)), student)


def tune(codec: Any, **settings: Any) -> Callable[[tuple[Any, ...]], Any]:
    """Codes that learn from all teachers."""
    return lambda more: ts.TuneTables(codec, teachers=more, **settings)


TWO_BITS, ONE_BIT = Int2("field", grid="mid-rise"), Int1("field")
LARGE = ("product_id", "manufacturer_id", "product_type", "package_size")
UNEVEN = {name: ONE_BIT if name in LARGE else TWO_BITS for name in ID_COLUMNS}
PRODUCTS = {**UNEVEN, **dict.fromkeys(LARGE[1:], TWO_BITS)}
THREE = {"epochs": 3, "learning_rate": 2e-3}
wide, narrow, short = (8, (100, 100, 100)), (8, (64, 32)), (4, (64, 32))
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
    after_training("rank 8 of 16, Int8", LowRankTable(8)),
    tuned("Int2, a field", TWO_BITS),
    tuned("Int1, a field", ONE_BIT, **THREE),
    tuned("Int1, a field, labels alone", ONE_BIT, weight=0.0, **THREE),
    tuned("product quantization, 2 codes", ProductQuantization(2)),
    whole("int8, tables in one int8 scale"),
    whole("Int2 tuned, int8", tune(TWO_BITS)),
    whole("student 64-32 / 8", student=narrow, mode="float32"),
    whole("student 64-32 / 8, int8", student=narrow),
    whole("student 64-32 / 8, Int2 coded, int8", lambda _: ts.EncodeTables(TWO_BITS), student=narrow),
    whole("student 64-32 / 8, Int2 tuned, int8", tune(TWO_BITS), student=narrow),
    whole("student 64-32 / 8, products in 1 bit, tuned, int8", tune(PRODUCTS, **THREE), student=narrow),
    whole("student 64-32 / 8, large tables in 1 bit, tuned, int8", tune(UNEVEN, **THREE), student=narrow),
    whole(
        "student 64-32 / 8, 50 kB allocated, tuned, int8",
        lambda _: ts.AllocateTables(max_bytes=50_000),
        tune(None, **THREE),
        student=narrow,
    ),
    whole("student 64-32 / 8, Int1 tuned, int8", tune(ONE_BIT, **THREE), student=narrow),
    whole("student 64-32 / 4, Int2 tuned, int8", tune(TWO_BITS, **THREE), student=short),
    whole("student 100 / 8, Int2 tuned, int8", tune(TWO_BITS), student=wide),
)


def main() -> None:
    """Make every row of every seed, print the tables, write the JSON and the page."""
    options = _options()
    name = "tables_quick" if options.quick else "tables"
    settings = {"fraction": options.fraction}
    done: dict[str, Any] = {} if options.fresh else _done(name, settings)
    data = ts.datasets.complete_journey(fraction=options.fraction)
    for seed in range(options.seeds):
        found = done.setdefault(str(seed), {})
        _make(found, data, seed, options, lambda: results.save(name, {"settings": settings, "seeds": done}))
    for part in dict.fromkeys(row["part"] for found in done.values() for row in found.values()):
        results.show(part, HEADINGS, _table(done, part))
    if not options.quick:
        parts = ("codes after training", "tuned", "whole file")
        text = "\n\n".join(f"{part}\n\n{results.markdown(HEADINGS, _table(done, part))}" for part in parts)
        results.write_between(DOCS, "tables", text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fraction", type=float, default=1.0, help="of the households, in (0, 1]")
    parser.add_argument("--seeds", type=int, default=3, help="how many networks are trained")
    parser.add_argument("--rows", nargs="*", default=(), help="only rows whose part or name has one of these words")
    parser.add_argument("--stock", action="store_true", help="the stock routes as well")
    parser.add_argument("--fresh", action="store_true", help="start over")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the households: to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.fraction, options.seeds = min(options.fraction, 0.05), 1
    return options


def _done(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    path = results.FOLDER / f"{name}.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found["seeds"] if found.get("settings") == settings else {}


def _make(found: dict[str, Any], data: Splits, seed: int, options: argparse.Namespace, save: Any) -> None:
    """The rows that are not there yet."""
    wanted = [row for row in ROWS if _is_asked(f"{row.part} {row.name}", options.rows)]
    missing = [row for row in wanted if f"{row.part}: {row.name}" not in found]
    stock = [name for name in STOCK if options.stock and f"stock: {name}" not in found]
    if not missing and not stock:
        return
    model = _trained(data, seed)
    baseline = measure_baseline(model, data)
    found["baseline"] = _told(baseline, "whole file", 0.0)
    teachers: tuple[Any, ...] = ()
    students: dict[Any, Any] = {None: model}
    for row in missing:
        if row.part == "whole file" and not teachers:
            teachers = tuple(_trained(data, seed + other) for other in MORE_TEACHERS)
        say(f"seed {seed}: {row.part}: {row.name}")
        started = time.perf_counter()
        if row.student not in students:
            students[row.student] = _student(row.student, model, data, teachers, seed)
        goal = Goal(row.name, seed=seed, baseline=baseline, timed=False)
        try:
            measured = pursue(students[row.student], data, row.plan(teachers), goal).measured
            found[f"{row.part}: {row.name}"] = _told(measured, row.part, time.perf_counter() - started)
        except ts.TfshopError as error:
            found[f"{row.part}: {row.name}"] = {"part": row.part, "refused": str(error)}
        save()
    _make_stock(found, stock, model, data, baseline, seed, save)


def _make_stock(
    found: dict[str, Any], names: list[str], model: Any, data: Splits, baseline: Measured, seed: int, save: Any
) -> None:
    for name in names:
        say(f"seed {seed}: {name}")
        started = time.perf_counter()
        try:
            measured = ROUTES[name](Start(model, data, baseline, seed), name)
            found[f"stock: {name}"] = _told(measured, "whole file", time.perf_counter() - started)
        except Exception as error:  # whatever a tool raises is its row
            found[f"stock: {name}"] = {"part": "whole file", "refused": f"{type(error).__name__}: {error}"[:300]}
        save()


def _is_asked(name: str, words: tuple[str, ...]) -> bool:
    return not words or any(word in name for word in words)


def _trained(data: Splits, seed: int) -> Any:
    model = ts.build_model("mlp", data.schema, dimension=DIMENSION, hidden=HIDDEN, seed=seed)
    ts.train(model, data, epochs=EPOCHS, learning_rate=LEARNING_RATE, seed=seed)
    return model


def _student(shape: Any, model: Any, data: Splits, teachers: tuple[Any, ...], seed: int) -> Any:
    """Six epochs on the scores of all teachers; files of one shape start from the same student."""
    dimension, hidden = shape
    step = ts.Distill({"dimension": dimension, "hidden": hidden}, teachers=teachers)
    return step.apply(Candidate(model, data.schema), data, seed).model


def _told(measured: Measured, part: str, seconds: float) -> dict[str, Any]:
    evaluation, parts = measured.evaluation, bytes_by_part(measured.content)
    difference = evaluation.auc_difference_test
    return {
        "part": part,
        "seconds": seconds,
        "bytes": len(measured.content),
        "tables": parts["tables"],
        "dense": parts["dense"],
        "validation_auc": evaluation.validation.auc,
        "test_auc": evaluation.test.auc,
        "difference": None if difference is None else [difference.difference, difference.low, difference.high],
    }


HEADINGS = ("file", "bytes a row", "tables", "dense half", "file size", "AUC difference, 95%", "over seeds")


def _table(done: Mapping[str, Any], part: str) -> list[list[str]]:
    """One line a row: sizes of the first seed, its paired interval, and the differences of all seeds."""
    first = next(iter(done.values()))
    base = first["baseline"]
    num_rows = base["tables"] / (4 * DIMENSION)
    lines = []
    for name, row in first.items():
        if row["part"] != part or name == "baseline":
            continue
        if "refused" in row:
            lines.append([name.split(": ", 1)[1], *["refused"] * (len(HEADINGS) - 1)])
            continue
        over = [found[name]["difference"][0] for found in done.values() if "difference" in found.get(name, {})]
        lines.append(
            [
                name.split(": ", 1)[1],
                f"{row['tables'] / num_rows:.1f}",
                f"{row['tables'] / 1e3:,.0f} kB ({base['tables'] / row['tables']:.1f}x)",
                f"{row['dense'] / 1e3:,.0f} kB ({base['dense'] / row['dense']:.1f}x)",
                f"{row['bytes'] / 1e3:,.0f} kB ({base['bytes'] / row['bytes']:.1f}x)",
                "{:+.4f} [{:+.4f}, {:+.4f}]".format(*row["difference"]),
                ", ".join(f"{value:+.4f}" for value in over),
            ]
        )
    return lines


if __name__ == "__main__":
    main()
