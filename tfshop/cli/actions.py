"""What each command does; every action returns an `Outcome`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table as RichTable

from tfshop._console import say
from tfshop._folders import new_folder, require_replaceable
from tfshop._keras import keras
from tfshop.artifact import MANIFEST, Artifact, require_artifact_or_nothing
from tfshop.cli.source import Source
from tfshop.cli.task import Task, read_plan, schema_of_training
from tfshop.compression.left_alone import summary
from tfshop.data import Schema
from tfshop.data.encoding import encode_groups
from tfshop.data.labels import read_labels
from tfshop.data.table import Table
from tfshop.demo import DemoSettings, run_demo
from tfshop.errors import LimitError, TfshopError
from tfshop.evaluation import auc_difference, best_threshold, measure
from tfshop.evaluation.scores import by_target
from tfshop.pipeline import Goal, pursue
from tfshop.probing import sensitivity as measure_sensitivity
from tfshop.probing import techniques_of
from tfshop.probing.journal import JOURNAL
from tfshop.report import Report, rich_table
from tfshop.report.folder import check_replaceable
from tfshop.report.report import KNOWN
from tfshop.result import SAVED_MODEL, Result
from tfshop.runtime import Scorer, bytes_by_part, compare_latency, lookup_tables, read_graph, sparsity_by_tensor
from tfshop.runtime.sources import model_bytes
from tfshop.training.distribution import Workers, requested_strategy

SCHEMA_FILE = "tfshop_schema.json"


@dataclass(frozen=True)
class Outcome:
    """What came of a command.

    Attributes:
        data: For `--json`.
        show: Prints it for people, on standard output.
        limit_missed: Whether the exit code is 1.
    """

    data: Any
    show: Callable[[], None]
    limit_missed: bool = False


def demo(fraction: float, out: Path, seed: int) -> Outcome:
    """Run the demonstration; its own table goes to standard error as it ends."""
    report = run_demo(DemoSettings(folder=out, fraction=fraction, seed=seed))
    return Outcome(_report_data(report), lambda: None)


def train(task: Task, out: Path, how: Mapping[str, Any]) -> Outcome:
    """Train and write a SavedModel with its fitted schema; of several workers the first one writes."""
    require_replaceable(out, SAVED_MODEL)
    strategy = requested_strategy(how["workers"], how["worker_index"])  # before TensorFlow has worked on anything
    data = task.prepare()
    model = task.trained_model(
        data,
        checkpoint_dir=how["checkpoint"],
        checkpoint_every="epoch" if how["checkpoint_every"] is None else how["checkpoint_every"],
        strategy=strategy,
    )
    if not Workers(strategy).is_chief:
        return Outcome({"folder": None}, lambda: print(f"done; the first worker writes {out}"))
    with new_folder(out) as folder:
        model.save(str(folder), save_format="tf", include_optimizer=False)
        (folder / SCHEMA_FILE).write_text(data.schema.to_json(), encoding="utf-8")
    return Outcome({"folder": str(out), "parameters": model.count_params()}, lambda: print(f"wrote {out}"))


def compress(task: Task, plan_text: str, limits: Mapping[str, Any], places: Mapping[str, Path | None]) -> Outcome:
    """Train (or load), compress, write artifact and report."""
    plan = read_plan(plan_text)
    _require_room(places)
    asked = {key: value for key, value in limits.items() if key != "retry" and value is not None}
    goal = Goal(name=Path(plan_text).stem, limits=asked, retry=limits["retry"], seed=task.seed)
    data = task.prepare()
    model = task.trained_model(data) if places["trained"] is None else _load(places["trained"], data.schema)
    try:
        result = pursue(model, data, plan, goal)
    except LimitError as error:
        if not isinstance(error.best, Result):
            raise
        say(str(error))
        result = error.best
    return _written(result, places)


def _require_room(places: Mapping[str, Path | None]) -> None:
    """Refuse folders that could not be written, before anything is trained."""
    if places["out"] is not None:
        require_artifact_or_nothing(places["out"])
    if places["report"] is not None:
        check_replaceable(places["report"], KNOWN)


def _written(result: Result, places: Mapping[str, Path | None]) -> Outcome:
    """Write what was made, whether or not it meets its limits: the exit code says which."""
    out, report_folder = places["out"], places["report"]
    assert out is not None  # noqa: S101  (for mypy: both have defaults)
    assert report_folder is not None  # noqa: S101
    report = result.report
    result.artifact.save(out)
    page = report.save(report_folder)

    def show() -> None:
        screen = Console()
        screen.print(rich_table(report.summary, screen.width))
        print(result)
        for note in result.evaluation.notes:
            print(f"  {note}")
        for line in summary(result.left_alone):
            print(f"  {line}")
        print(f"wrote {out}/ and {page}")

    data = {
        **_report_data(report),
        "missed": list(result.missed),
        "left_alone": [dict(row) for row in result.left_alone],
        "artifact": str(out),
        "report": str(page),
    }
    return Outcome(data, show, limit_missed=not result.met)


def sensitivity(task: Task, trained: Path | None, out: Path, how: Mapping[str, Any]) -> Outcome:
    """Train (or load), change one layer after the other, write table and picture."""
    passes = _techniques(how["techniques"], how["plan"])  # refused before anything is trained
    require_replaceable(out, JOURNAL)
    data = task.prepare()
    model = task.trained_model(data) if trained is None else _load(trained, data.schema)
    found = measure_sensitivity(model, data, passes, rows=how["rows"], seed=task.seed, folder=out)

    def show() -> None:
        print(found)
        for line in summary(found.left_alone):
            print(f"  {line}")
        print(f"wrote {out}/sensitivity.png, .svg, .csv and .json")

    return Outcome(json.loads(found.to_json()), show)


def _techniques(names: Sequence[str], plan_text: str) -> Any:
    if names and plan_text:
        raise TfshopError(
            f"--techniques {', '.join(names)} and --plan {plan_text} were both given. Expected one of them. "
            "Fix: leave --techniques out."
        )
    return techniques_of(read_plan(plan_text) if plan_text else names or None)


def evaluate(folder: Path, source: Source, baseline: Path | None) -> Outcome:
    """Score a table with an artifact; the threshold is the one chosen when it was made."""
    artifact = Artifact.load(folder)
    table = source.read()
    labels = artifact.schema.by_target(read_labels(table, artifact.schema.target))
    scores = _scores(artifact, table, artifact.schema)
    others = {} if baseline is None else _scores(Artifact.load(baseline), table, artifact.schema)
    group = artifact.schema.group
    groups = encode_groups(table, group) if group is not None and group in table.columns else None
    measured = {} if artifact.evaluation is None else artifact.evaluation.each
    found = {}
    for target, truth in labels.items():
        known = measured.get(target, measured.get(""))
        threshold = best_threshold(truth, scores[target]) if known is None else known.test.threshold
        found[target] = asdict(measure(truth, scores[target], groups, threshold=threshold))
        if target in others:
            difference = auc_difference(truth, scores[target], others[target])
            ends = {"difference": difference.difference, "low": difference.low, "high": difference.high}
            found[target]["auc_difference"] = ends
    data: dict[str, Any] = {"targets": found} if len(found) > 1 else next(iter(found.values()))
    return Outcome(data, lambda: _print_rows(f"{folder} on {table.name}", data.get("targets", data)))


def _scores(artifact: Artifact, table: Table, schema: Schema) -> dict[str, np.ndarray]:
    """Scores of all rows of a table, by the schema's targets."""
    scorer = Scorer(artifact)
    return by_target(scorer(artifact.schema.encode(table)), scorer.outputs, schema)


def benchmark(files: Sequence[Path], batch: str, threads: int, seconds: float) -> Outcome:
    """Time files in turns."""
    try:
        sizes = tuple(int(part) for part in batch.split(","))
    except ValueError:
        raise TfshopError(f"--batch is {batch!r}. Expected whole numbers separated by commas, as 1,128.") from None
    rows = _golden(files)  # verifies the first artifact before anything is timed
    sources: dict[str, Any] = {str(file): file for file in files}
    times = compare_latency(sources, batch_sizes=sizes, num_threads=threads, seconds=seconds, inputs=rows)
    cpu = next(iter(times.values())).cpu
    data = {
        "cpu": cpu,
        "num_threads": threads,
        "files": {
            name: [
                {"batch_size": r.batch_size, "p50_us": r.p50_us, "p99_us": r.p99_us, "runs": r.runs}
                for r in latency.rows
            ]
            for name, latency in times.items()
        },
    }

    def show() -> None:
        table = RichTable(title=f"microseconds a call, {threads} thread(s), {cpu}")
        for heading in ("file", "batch", "p50", "p99", "calls"):
            table.add_column(heading, justify="left" if heading == "file" else "right")
        for name, latency in times.items():
            for row in latency.rows:
                table.add_row(name, str(row.batch_size), f"{row.p50_us:,.1f}", f"{row.p99_us:,.1f}", f"{row.runs:,}")
        Console().print(table)

    return Outcome(data, show)


def inspect(file: Path) -> Outcome:
    """What is in a file, and for an artifact whether it is whole."""
    artifact = Artifact.load(file) if (file / MANIFEST).is_file() else None
    content = model_bytes(file)
    graph = read_graph(content)
    data: dict[str, Any] = {
        "size_bytes": len(content),
        "bytes": bytes_by_part(content),
        "inputs": {name: _tensor(graph.tensors[index]) for name, index in graph.inputs.items()},
        "outputs": {name: _tensor(graph.tensors[index]) for name, index in graph.outputs.items()},
        "operators": dict(graph.kinds),
        "tables": [_tensor(table.tensor) for table in lookup_tables(graph)],
        "sparsity": {row.name: round(row.sparsity, 4) for row in sparsity_by_tensor(content)},
    }
    if artifact is not None:
        data["plan"] = artifact.plan
        data["versions"] = dict(artifact.versions)
        data["verified"] = "hashes and golden scores"
    return Outcome(data, lambda: _print_rows(str(file), data))


def _load(folder: Path | None, schema: Any) -> Any:
    """The model that `tfshop train` wrote, if it was trained with this very schema."""
    assert folder is not None  # noqa: S101  (for mypy: the caller checked)
    if schema_of_training(folder) != schema:
        raise TfshopError(
            f"{folder} was trained with another schema than this table and these options give. Expected the same. "
            "Fix: run `tfshop train` again with the same table, split and seed."
        )
    return keras.models.load_model(str(folder))


def _golden(files: Sequence[Path]) -> Mapping[str, np.ndarray] | None:
    """Real rows to time on, where the first file is an artifact."""
    return Artifact.load(files[0]).golden.inputs if (files[0] / MANIFEST).is_file() else None


def _tensor(tensor: Any) -> dict[str, Any]:
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape_signature or tensor.shape)}


def _report_data(report: Report) -> dict[str, Any]:
    """Everything measured, by file."""
    return {
        "headlines": report.headlines,
        "files": {v.name: v.evaluation.to_dict() for v in (report.baseline, *report.variants)},
    }


def _print_rows(title: str, data: Mapping[str, Any]) -> None:
    """Two columns, nested values on lines of their own."""
    table = RichTable(title=title, show_header=False)
    table.add_column("", style="bold")
    table.add_column("")
    for name, value in data.items():
        table.add_row(name.replace("_", " "), _text(value))
    Console().print(table)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "\n".join(f"{key}: {_text(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "\n".join(_text(item) for item in value)
    if isinstance(value, float):
        return f"{value:.5g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
