"""What codecs and tuning do to embedding tables, on exported files.

Run: `python benchmarks/tables.py` (most of an hour a seed on two cores; `--quick` takes some minutes). A run that
was cut short goes on where it stopped, unless what rows follow from is another: see `made_by`; `--fresh` starts over.
`--log repurchase` and `--log planted` are other data. The page is written once all rows of all seeds are there, on
promotion response the stock routes' too.

Every row of ours is an exported file, audited, beside the float32 file of the stock converter: bytes a row of the
tables, bytes of tables, of the dense half and of the file, AUC with the paired 95% interval of the difference on the
test split.
First each codec after training alone, the dense half in float32; then with `TuneTables`; then whole files, as small as
they get, with every step of `recipes.tiny` by itself; beside them what the stock converter and ai-edge-quantizer make
of the same network (`--stock`). Promotion response has mlp 400-400-400 with dimension 16; on the planted log the error
of the file's logits against the true ones stands beside the AUC.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import results
from routes import ROUTES, Start
from scipy.special import logit
from table_data import LOGS, Log
from table_page import PARTS, Seeds, draw, table
from table_rows import PROMOTION, ROWS, STOCK, Teachers, made_by, teacher_seeds

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
SEEDS = {PROMOTION: 3, "repurchase": 3, "planted": 1}  # of a page
NEAREST = 1e-6  # to 0 and 1 that a probability is taken to be


@dataclass(frozen=True, eq=False)
class Run:
    """One seed.

    Attributes:
        log: What is learned from.
        seed: Of the network and all that is made of it.
        made_by: Titles of all rows to digests of what they follow from.
        found: Rows by title, and whatever an earlier run left; grows.
        save: Writes all of it down.
    """

    log: Log
    seed: int
    made_by: Mapping[str, str]
    found: dict[str, Any]
    save: Callable[[], Any]

    def fresh(self) -> dict[str, Any]:
        """The rows that are made as they would be today, in their order."""
        known = ((title, self.found.get(title, {})) for title in self.made_by)
        return {title: row for title, row in known if row.get("made_by") == self.made_by[title]}

    def keep(self, title: str, row: Mapping[str, Any]) -> None:
        """Add a row."""
        self.found[title] = {**row, "made_by": self.made_by[title]}
        self.save()


def main() -> None:
    """Make every row of every seed, print the tables, write the JSON, the page and its picture."""
    options = _options()
    name = f"tables{'' if options.log == PROMOTION else f'_{options.log}'}{'_quick' if options.quick else ''}"
    settings = {"fraction": options.fraction}
    done: dict[str, Any] = {} if options.fresh else _done(name, settings)
    log = LOGS[options.log](options.fraction)

    def save() -> None:
        results.save(name, {"settings": settings, "seeds": done})

    asked = range(options.first, options.first + options.seeds)
    of_page = () if options.first else range(SEEDS[options.log])
    seeds = {str(seed): done.setdefault(str(seed), {}) for seed in sorted({*asked, *of_page})}
    runs = {key: Run(log, int(key), made_by(options.log, log, int(key)), own, save) for key, own in seeds.items()}
    for seed in asked:
        _make(runs[str(seed)], options)
    rows: Seeds = {seed: own for seed, run in runs.items() if (own := run.fresh())}
    for part in PARTS:
        results.show(part, *table(rows, part))
    if options.fraction == 1.0 and not options.first and all(_is_whole(run, options.log) for run in runs.values()):
        _write(options.log, rows)


def _is_whole(run: Run, log: str) -> bool:
    """Whether all rows of a seed are there: a part is no page."""
    return all(title in run.fresh() or (title.startswith("stock: ") and log != PROMOTION) for title in run.made_by)


def _write(log: str, rows: Seeds) -> None:
    """The page and its picture."""
    page = DOCS / "tables.md"
    results.write_between(
        page, f"tables {log}", "\n\n".join(f"{p}\n\n{results.markdown(*table(rows, p))}" for p in PARTS)
    )
    if log == PROMOTION:
        draw(rows["0"], DOCS / "pictures" / "tables.png")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", choices=tuple(LOGS), default=PROMOTION, help="what is learned from")
    parser.add_argument("--fraction", type=float, default=1.0, help="of the rows or households, in (0, 1]")
    parser.add_argument("--seeds", type=int, default=3, help="how many networks are trained")
    parser.add_argument("--first", type=int, default=0, help="seed of the first: seeds beside those of the page")
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


def _make(run: Run, options: argparse.Namespace) -> None:
    """The rows that are not there yet."""
    fresh = run.fresh()
    missing = [
        row
        for row in ROWS
        if row.title in run.made_by and row.title not in fresh and _is_asked(row.title, options.rows)
    ]
    stock = [name for name in STOCK if options.stock and f"stock: {name}" not in fresh]
    if not missing and not stock:
        return
    model = _trained(run.log, run.seed)
    baseline = measure_baseline(model, run.log.data)
    teachers: Teachers = ()
    if any(row.is_taught for row in missing):
        teachers = tuple(_trained(run.log, seed) for seed in teacher_seeds(run.seed))
    students: dict[str, Any] = {}
    for row in missing:
        say(f"seed {run.seed}: {row.title}")
        started = time.perf_counter()
        try:
            goal = Goal(row.name, seed=run.seed, baseline=baseline)
            result = _followed(row.plan(teachers), model, run.log, goal, students)
            told = _told(result.measured, baseline, run.log) | _frontier(result)
            run.keep(row.title, {"part": row.part, "seconds": time.perf_counter() - started, **told})
        except ts.TfshopError as error:
            run.keep(row.title, {"part": row.part, "refused": str(error)})
    _make_stock(run, stock, model, baseline)


def _followed(plan: Plan, model: Any, log: Log, goal: Goal, students: dict[str, Any]) -> Result:
    """The file of a plan; plans that begin alike begin with the same student."""
    first, *rest = plan.passes or (None,)
    if not isinstance(first, Distill):
        return pursue(model, log.data, plan, replace(goal, timed=False))
    key = json.dumps([dict(first.shrink or {}), first.epochs, first.weight, first.unknown_ids, len(first.teachers)])
    if key not in students:
        students[key] = first.apply(Candidate(model, log.data.schema), log.data, goal.seed).model
    return pursue(students[key], log.data, ts.chain(*rest, plan.exporter), replace(goal, timed=False))


def _make_stock(run: Run, names: list[str], model: Any, baseline: Measured) -> None:
    for name in names:
        say(f"seed {run.seed}: {name}")
        started = time.perf_counter()
        row: dict[str, Any] = {"part": "whole file"}
        try:
            told = _told(ROUTES[name](Start(model, run.log.data, baseline, run.seed), name), baseline, run.log)
            row |= {"seconds": time.perf_counter() - started, **told}
        except Exception as error:  # whatever a tool raises is its row
            row["refused"] = f"{type(error).__name__}: {error}"[:300]
        run.keep(f"stock: {name}", row)


def _is_asked(name: str, words: tuple[str, ...]) -> bool:
    return not words or any(word in name for word in words)


def _trained(log: Log, seed: int) -> Any:
    model = ts.build_model("mlp", log.data.schema, seed=seed, **log.network)
    ts.train(model, log.data, epochs=log.epochs, learning_rate=log.learning_rate, seed=seed)
    return model


def _told(measured: Measured, baseline: Measured, log: Log) -> dict[str, Any]:
    """A file beside the float32 file that it was compared with."""
    difference = measured.evaluation.auc_difference_test
    return {
        **_sizes(measured, log),
        "difference": None if difference is None else [difference.difference, difference.low, difference.high],
        "dimension": log.network["dimension"],
        "baseline": _sizes(baseline, log),
    }


def _sizes(measured: Measured, log: Log) -> dict[str, Any]:
    evaluation, parts = measured.evaluation, bytes_by_part(measured.content)
    told = {
        "bytes": len(measured.content),
        "tables": parts["tables"],
        "dense": parts["dense"],
        "validation_auc": evaluation.validation.auc,
        "test_auc": evaluation.test.auc,
    }
    return told if log.true_logit is None else {**told, "logit_error": _logit_error(measured.content, log)}


def _logit_error(content: bytes, log: Log) -> float:
    """Root of the mean squared difference to the true logits."""
    scores = np.asarray(Scorer(content)(log.data.test.inputs), dtype=np.float64).reshape(-1)
    return float(np.sqrt(np.mean((logit(np.clip(scores, NEAREST, 1 - NEAREST)) - log.true_logit) ** 2)))


def _frontier(result: Result) -> dict[str, Any]:
    """What `AllocateTables` expected of other budgets, and measured."""
    if not any("frontier" in record.notes for record in result.candidate.history):
        return {}
    found = ts.table_frontier(result)
    return {"frontier": {"rows": found.rows, "float": found.float_auc}}


if __name__ == "__main__":
    main()
