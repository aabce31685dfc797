"""What codecs and tuning do to embedding tables, on exported files.

Run: `python benchmarks/tables.py` (about twenty minutes a seed on two cores; `--quick` takes some minutes). A run that
was cut short goes on where it stopped; `--fresh` starts over. `--log repurchase` and `--log planted` are other data.

Every row is an exported file, audited, beside the float32 file of the stock converter: bytes a row of the tables, bytes
of tables, of the dense half and of the file, AUC with the paired 95% interval of the difference on the test split.
First each codec after training alone, the dense half in float32; then with `TuneTables`; then whole files, as small as
they get, with every step of `recipes.tiny` by itself; beside them what the stock converter and ai-edge-quantizer make
of the same network (`--stock`). Promotion response has mlp 400-400-400 with dimension 16; on the planted log the error
of the file's logits against the true ones stands beside the AUC.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import results
from routes import ROUTES, Start
from scipy.special import logit
from table_data import LOGS, Log
from table_rows import PROMOTION, ROWS, Teachers

import tfshop as ts
from tfshop._console import say
from tfshop.compression import Candidate, Distill
from tfshop.evaluation.measured import Measured
from tfshop.export import Plan
from tfshop.measuring import measure_baseline
from tfshop.pipeline import Goal, pursue
from tfshop.result import Result
from tfshop.runtime import Scorer, bytes_by_part

DOCS = Path(__file__).parent.parent / "docs"
MORE_TEACHERS = (101, 102)  # seeds of the second and third teacher, beside that of the network
NEAREST = 1e-6  # to 0 and 1 that a probability is taken to be
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


def main() -> None:
    """Make every row of every seed, print the tables, write the JSON, the page and its picture."""
    options = _options()
    name = f"tables{'' if options.log == PROMOTION else f'_{options.log}'}{'_quick' if options.quick else ''}"
    settings = {"fraction": options.fraction}
    done: dict[str, Any] = {} if options.fresh else _done(name, settings)
    log = LOGS[options.log](options.fraction)
    for seed in range(options.seeds):
        found = done.setdefault(str(seed), {})
        _make(found, log, seed, options, lambda: results.save(name, {"settings": settings, "seeds": done}))
    parts = ("codes after training", "tuned", "whole file")
    for part in parts:
        results.show(part, *_table(done, part))
    is_whole = not options.rows and options.fraction == 1.0  # a part of the rows is no page
    if is_whole and f"<!-- tables {options.log}: begin -->" in (DOCS / "tables.md").read_text(encoding="utf-8"):
        text = "\n\n".join(f"{part}\n\n{results.markdown(*_table(done, part))}" for part in parts)
        results.write_between(DOCS / "tables.md", f"tables {options.log}", text)
        if options.log == PROMOTION:
            _draw(done["0"], DOCS / "pictures" / "tables.png")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", choices=tuple(LOGS), default=PROMOTION, help="what is learned from")
    parser.add_argument("--fraction", type=float, default=1.0, help="of the rows or households, in (0, 1]")
    parser.add_argument("--seeds", type=int, default=3, help="how many networks are trained")
    parser.add_argument("--rows", nargs="*", default=(), help="only rows whose part or name has one of these words")
    parser.add_argument("--stock", action="store_true", help="the stock routes as well")
    parser.add_argument("--fresh", action="store_true", help="start over")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the rows: to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.fraction, options.seeds = min(options.fraction, 0.05), 1
    return options


def _done(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    path = results.FOLDER / f"{name}.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found["seeds"] if found.get("settings") == settings else {}


def _make(found: dict[str, Any], log: Log, seed: int, options: argparse.Namespace, save: Any) -> None:
    """The rows that are not there yet."""
    rows = [row for row in ROWS if options.log in row.logs and _is_asked(f"{row.part}: {row.name}", options.rows)]
    missing = [row for row in rows if f"{row.part}: {row.name}" not in found]
    stock = [name for name in STOCK if options.stock and f"stock: {name}" not in found]
    if not missing and not stock:
        return
    model = _trained(log, seed)
    baseline = measure_baseline(model, log.data)
    found["baseline"] = _told(baseline, "baseline", 0.0, log)
    teachers: Teachers = ()
    if any(row.part == "whole file" for row in missing):
        teachers = tuple(_trained(log, seed + other) for other in MORE_TEACHERS)
    students: dict[str, Any] = {}
    for row in missing:
        say(f"seed {seed}: {row.part}: {row.name}")
        started = time.perf_counter()
        try:
            result = _followed(row.plan(teachers), model, log, Goal(row.name, seed=seed, baseline=baseline), students)
            found[f"{row.part}: {row.name}"] = _told(
                result.measured, row.part, time.perf_counter() - started, log, _frontier(result)
            )
        except ts.TfshopError as error:
            found[f"{row.part}: {row.name}"] = {"part": row.part, "refused": str(error)}
        save()
    _make_stock(found, stock, model, log, baseline, seed, save)


def _followed(plan: Plan, model: Any, log: Log, goal: Goal, students: dict[str, Any]) -> Result:
    """The file of a plan; plans that begin alike begin with the same student."""
    first, *rest = plan.passes or (None,)
    if not isinstance(first, Distill):
        return pursue(model, log.data, plan, replace(goal, timed=False))
    key = json.dumps([dict(first.shrink or {}), first.epochs])
    if key not in students:
        students[key] = first.apply(Candidate(model, log.data.schema), log.data, goal.seed).model
    return pursue(students[key], log.data, ts.chain(*rest, plan.exporter), replace(goal, timed=False))


def _make_stock(
    found: dict[str, Any], names: list[str], model: Any, log: Log, baseline: Measured, seed: int, save: Any
) -> None:
    for name in names:
        say(f"seed {seed}: {name}")
        started = time.perf_counter()
        try:
            measured = ROUTES[name](Start(model, log.data, baseline, seed), name)
            found[f"stock: {name}"] = _told(measured, "whole file", time.perf_counter() - started, log)
        except Exception as error:  # whatever a tool raises is its row
            found[f"stock: {name}"] = {"part": "whole file", "refused": f"{type(error).__name__}: {error}"[:300]}
        save()


def _is_asked(name: str, words: tuple[str, ...]) -> bool:
    return not words or any(word in name for word in words)


def _trained(log: Log, seed: int) -> Any:
    model = ts.build_model("mlp", log.data.schema, seed=seed, **log.network)
    ts.train(model, log.data, epochs=log.epochs, learning_rate=log.learning_rate, seed=seed)
    return model


def _told(measured: Measured, part: str, seconds: float, log: Log, frontier: Any = None) -> dict[str, Any]:
    evaluation, parts = measured.evaluation, bytes_by_part(measured.content)
    difference = evaluation.auc_difference_test
    told = {
        "part": part,
        "seconds": seconds,
        "bytes": len(measured.content),
        "tables": parts["tables"],
        "dense": parts["dense"],
        "validation_auc": evaluation.validation.auc,
        "test_auc": evaluation.test.auc,
        "difference": None if difference is None else [difference.difference, difference.low, difference.high],
        "dimension": log.network["dimension"],
    }
    if log.true_logit is not None:
        told["logit_error"] = _logit_error(measured.content, log)
    return told | ({"frontier": frontier} if frontier else {})


def _logit_error(content: bytes, log: Log) -> float:
    """Root of the mean squared difference to the true logits."""
    scores = np.asarray(Scorer(content)(log.data.test.inputs), dtype=np.float64).reshape(-1)
    return float(np.sqrt(np.mean((logit(np.clip(scores, NEAREST, 1 - NEAREST)) - log.true_logit) ** 2)))


def _frontier(result: Result) -> Any:
    """What `AllocateTables` expected of other budgets, and measured."""
    if not any("frontier" in record.notes for record in result.candidate.history):
        return None
    found = ts.table_frontier(result)
    return {"rows": found.rows, "float": found.float_auc}


def _table(done: Mapping[str, Any], part: str) -> tuple[tuple[str, ...], list[list[str]]]:
    """Headings and lines, one a row: sizes of the first seed, its paired interval, the differences of all seeds."""
    first = next(iter(done.values()))
    base = first["baseline"]
    planted = "logit_error" in base
    headings = ("file", "bytes a row", "tables", "dense half", "file size", "AUC difference, 95%", "each seed")
    lines = [_line(name, row, base, done) for name, row in first.items() if row["part"] == part]
    if planted:
        own = [row.get("logit_error") for row in first.values() if row["part"] == part]
        lines = [[*line, "" if error is None else f"{error:.3f}"] for line, error in zip(lines, own, strict=True)]
        headings = (*headings, f"logit error (float32: {base['logit_error']:.3f})")
    return headings, lines


def _line(name: str, row: Mapping[str, Any], base: Mapping[str, Any], done: Mapping[str, Any]) -> list[str]:
    title = name.removeprefix(f"{row['part']}: ").removeprefix("stock: ")
    if "refused" in row:
        return [title, *["refused"] * 6]
    over = [found[name]["difference"][0] for found in done.values() if found.get(name, {}).get("difference")]
    bytes_a_row = row["tables"] / base["tables"] * 4 * base["dimension"]
    return [
        title,
        f"{bytes_a_row:.1f}",
        f"{row['tables'] / 1e3:,.0f} kB ({base['tables'] / row['tables']:.1f}x)",
        f"{row['dense'] / 1e3:,.0f} kB ({base['dense'] / row['dense']:.1f}x)",
        f"{row['bytes'] / 1e3:,.0f} kB ({base['bytes'] / row['bytes']:.1f}x)",
        "{:+.4f} [{:+.4f}, {:+.4f}]".format(*row["difference"]),
        ", ".join(f"{value:+.4f}" for value in over),
    ]


COLOURS = {"codes after training": "tab:gray", "tuned": "tab:blue", "whole file": "tab:green"}


def _draw(found: Mapping[str, Any], path: Path) -> None:
    """Size of whole files against AUC, and what uneven bits are expected to cost beside what they cost."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
    base = found["baseline"]
    for name, row in found.items():
        if "refused" in row or not row["difference"]:
            continue
        times, (middle, low, high) = base["bytes"] / row["bytes"], row["difference"]
        stock = name.startswith("stock: ")
        colour = "tab:red" if stock else COLOURS[row["part"]]
        left.errorbar(times, middle, [[middle - low], [high - middle]], fmt="x" if stock else "o", ms=4, color=colour)
    for part, colour in {**COLOURS, "stock tools": "tab:red"}.items():
        left.plot([], [], "x" if part == "stock tools" else "o", ms=4, color=colour, label=part)
    left.axhline(0, color="black", lw=0.6)
    left.set(xscale="log", xlabel="times smaller than the float32 file", ylabel="AUC difference on test, 95%")
    left.set_xticks([1, 2, 4, 8, 16, 32, 64], [f"{ticks}x" for ticks in (1, 2, 4, 8, 16, 32, 64)])
    left.set_title("whole files")
    left.legend(frameon=False)
    frontier = next((row["frontier"] for row in found.values() if "frontier" in row), None)
    if frontier:
        points = sorted(frontier["rows"], key=lambda point: point["bytes"])
        sizes = [point["bytes"] / 1e3 for point in points]
        right.plot(sizes, [p["expected_auc"] - frontier["float"] for p in points], color="tab:gray", label="expected")
        seen = [point for point in points if point["measured_auc"] is not None]
        measured = [point["measured_auc"] - frontier["float"] for point in seen]
        right.plot([p["bytes"] / 1e3 for p in seen], measured, "o", color="tab:blue", label="measured")
    right.axhline(0, color="black", lw=0.6)
    right.set(xscale="log", xlabel="kB of the tables, before any tuning", ylabel="AUC difference on validation")
    right.set_title("uneven bits: AllocateTables")
    right.legend(frameon=False)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
