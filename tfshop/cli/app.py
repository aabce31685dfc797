"""Commands and their options; the work is in `actions`, imported only when a command runs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from tfshop.cli.options import (
    AsJson,
    Cache,
    Fit,
    Learning,
    Missing,
    Parameter,
    Query,
    ResumeKey,
    Seed,
    Table,
    Target,
    Trained,
    names,
    source_of,
    with_learning_options,
)
from tfshop.errors import LimitError, TfshopError

app = typer.Typer(
    name="tfshop",
    help="Make a Keras click or recommendation network small and fast, and prove it on the exported .tflite.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 1 a limit was missed, 2 wrong usage or input, or a defect. Progress goes to standard "
    "error.",
)

LIMIT_MISSED = 1
INPUT_ERROR = 2


@app.command()
def demo(
    fraction: Annotated[float, typer.Option(help="Share of the households, in (0, 1].")] = 1.0,
    out: Annotated[Path, typer.Option(help="Folder for saved_models/, tflite/ and report/.")] = Path(),
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Train, compress along five plans, export and verify on a grocery data set."""
    _run(lambda actions: actions.demo(fraction, out, seed), as_json)


@app.command()
@with_learning_options
def train(
    table: Table,
    target: Target,
    out: Annotated[Path, typer.Option(help="Folder for the SavedModel and its schema.")],
    *,
    learning: Learning,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Folder for checkpoints; a training that was killed goes on from the last.")
    ] = None,
    checkpoint_every: Annotated[int | None, typer.Option(help="Steps between two. Default: one an epoch.")] = None,
    workers: Annotated[
        str | None, typer.Option(help="host:port of every worker, separated by commas. Default: TF_CONFIG, if set.")
    ] = None,
    worker_index: Annotated[int | None, typer.Option(help="With --workers: which of them this is, from 0.")] = None,
    as_json: AsJson = False,
) -> None:
    """Train a network on a table and write it as a SavedModel.

    With --workers, or TF_CONFIG in the environment, start the same command once for every worker; the first writes.
    """
    how = {
        "checkpoint": checkpoint,
        "checkpoint_every": checkpoint_every,
        "workers": workers,
        "worker_index": worker_index,
    }
    _run(lambda actions: actions.train(learning.task(table, target), out, how), as_json)


@app.command()
@with_learning_options
def compress(
    table: Table,
    target: Target,
    out: Annotated[Path, typer.Option(help="Folder for the artifact: model.tflite, schema, golden scores …")],
    *,
    plan: Annotated[
        str,
        typer.Option(
            help="int8, float16, fast, tiny, small_download, careful, classic, qat_int8, prune_int8, distill_int8, or "
            "a plan as a JSON file."
        ),
    ] = "int8",
    trained: Trained = None,
    report: Annotated[Path | None, typer.Option(help="Folder for the report. Default: report/<name of --out>.")] = None,
    fit: Fit = False,
    max_auc_drop: Annotated[float | None, typer.Option(help="Most AUC that may be lost (lower end of 95%).")] = None,
    max_size_bytes: Annotated[int | None, typer.Option(help="Largest size of model.tflite.")] = None,
    retry: Annotated[bool, typer.Option(help="Step back to gentler plans until the limits are met.")] = False,
    learning: Learning,
    as_json: AsJson = False,
) -> None:
    """Train on a table, compress along a plan, export, audit and measure.

    Example: tfshop compress data.parquet --target bought --model deepfm --plan int8 --out tflite/mine
    """
    limits = {"max_auc_drop": max_auc_drop, "max_size_bytes": max_size_bytes, "retry": retry}
    places = {"out": out, "report": report or Path("report") / out.name, "trained": trained}
    _run(lambda actions: actions.compress(learning.task(table, target, fit=fit), plan, limits, places), as_json)


@app.command()
@with_learning_options
def sensitivity(
    table: Table,
    target: Target,
    out: Annotated[
        Path, typer.Option(help="Folder for table and picture; a run that was killed goes on from what is there.")
    ],
    *,
    techniques: Annotated[
        str, typer.Option(help="Prune, PruneUnits, LowRank, Cluster, Quantize, separated by commas. Default: all.")
    ] = "",
    plan: Annotated[
        str, typer.Option(help="Instead: a recipe, or a plan as a JSON file; its passes at their own strengths.")
    ] = "",
    rows: Annotated[int, typer.Option(help="Most validation rows to score.")] = 50_000,
    trained: Trained = None,
    fit: Fit = False,
    learning: Learning,
    as_json: AsJson = False,
) -> None:
    """Measure which layers stand zeros, fewer units, a lower rank, shared values, fewer bits: one by one, untrained."""
    how = {"techniques": names(techniques), "plan": plan, "rows": rows}
    _run(lambda actions: actions.sensitivity(learning.task(table, target, fit=fit), trained, out, how), as_json)


@app.command()
def evaluate(
    artifact: Annotated[Path, typer.Argument(help="Folder of an artifact.")],
    table: Table,
    baseline: Annotated[Path | None, typer.Option(help="Artifact to compare with, on the same rows.")] = None,
    missing: Missing = None,
    query: Query = None,
    parameter: Parameter = None,
    resume_key: ResumeKey = None,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Score all rows of a table with an artifact's file and measure the scores."""
    source = source_of(table, query, parameter, resume_key, cache, missing)
    _run(lambda actions: actions.evaluate(artifact, source, baseline), as_json)


@app.command()
def benchmark(
    files: Annotated[list[Path], typer.Argument(help="Artifacts or .tflite files; several are timed in turns.")],
    batch: Annotated[str, typer.Option(help="Batch sizes, separated by commas.")] = "1,16,128,512",
    threads: Annotated[int, typer.Option(help="Threads of the interpreter.")] = 1,
    seconds: Annotated[float, typer.Option(help="Time spent on each file at each batch size.")] = 0.5,
    as_json: AsJson = False,
) -> None:
    """Time files: p50 and p99 in microseconds, warm, by batch size."""
    _run(lambda actions: actions.benchmark(files, batch, threads, seconds), as_json)


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="Artifact or .tflite file.")],
    as_json: AsJson = False,
) -> None:
    """Show what is in a file: inputs, operators, where the bytes are, zeros; verify an artifact's hashes and scores."""
    _run(lambda actions: actions.inspect(file), as_json)


def main() -> None:
    """Entry point of the `tfshop` command: errors become one line and an exit code, never a traceback."""
    try:
        app()
    except LimitError as error:
        _complain(error)
        sys.exit(LIMIT_MISSED)
    except TfshopError as error:
        _complain(error)
        sys.exit(INPUT_ERROR)
    except OSError as error:
        if error.filename is None:
            raise
        _complain(f"{error.filename}: {error.strerror}. Fix: check the path and its permissions.")
        sys.exit(INPUT_ERROR)
    except Exception as error:
        if os.environ.get("TFSHOP_TRACEBACK"):
            raise
        _complain(f"{type(error).__name__}: {error}. This is a defect; please report it with TFSHOP_TRACEBACK=1.")
        sys.exit(INPUT_ERROR)  # Python's own exit code would be 1, which says that a limit was missed


def _run(action: Callable[[Any], Any], as_json: bool) -> None:
    """Do the work, print what came of it, and exit by whether the limits were met."""
    from tfshop.cli import actions

    outcome = action(actions)
    if as_json:
        typer.echo(json.dumps(outcome.data, indent=2, ensure_ascii=False))
    else:
        outcome.show()
    if outcome.limit_missed:
        raise typer.Exit(LIMIT_MISSED)


def _complain(message: object) -> None:
    typer.echo(f"tfshop: {message}", err=True)
