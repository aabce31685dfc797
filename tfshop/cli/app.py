"""Commands and their options; the work is in `actions`, imported only when a command runs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tfshop.errors import LimitError, TfshopError

app = typer.Typer(
    name="tfshop",
    help="Make a Keras click or recommendation network small and fast, and prove it on the exported .tflite.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 1 a limit was missed, 2 wrong usage or input. Progress goes to standard error.",
)

LIMIT_MISSED = 1
INPUT_ERROR = 2

Table = Annotated[
    str,
    typer.Argument(help="CSV or Parquet file, a glob in quotes, or a database (mysql://…): one row an exposure."),
]
Missing = Annotated[list[str] | None, typer.Option(help="Text of a CSV file for no value, as N/A; may be repeated.")]
Query = Annotated[
    str | None,
    typer.Option(help="For a database: the SELECT. The password is best left to the environment's TFSHOP_DB_PASSWORD."),
]
Parameter = Annotated[list[str] | None, typer.Option(help="NAME=VALUE for a :NAME of the query; may be repeated.")]
ResumeKey = Annotated[
    str | None, typer.Option(help="Unique column of the query: a read that broke off goes on after its last value.")
]
Cache = Annotated[Path | None, typer.Option(help="Folder that keeps the query's rows for later commands.")]
Target = Annotated[
    list[str], typer.Option(help="Column with the outcome, 0 or 1. Several: give it again, or separate by commas.")
]
Model = Annotated[
    str,
    typer.Option(
        help="Network: a key of tfshop.MODELS, such as mlp or deepfm, of several targets mmoe; or a .keras, .h5 or "
        "SavedModel of your own."
    ),
]
CustomObjects = Annotated[
    str,
    typer.Option(
        help="Layers and functions of --model, as package.module:Name or layers.py:Name, separated by commas. "
        "The module is imported, so name none you do not trust."
    ),
]
TrustLambdas = Annotated[bool, typer.Option("--trust-lambdas", help="Run Python code that the file of --model holds.")]
Group = Annotated[str | None, typer.Option(help="Column that names the user, for AUC within users.")]
Time = Annotated[str | None, typer.Option(help="Column with the time; rows are then split in time.")]
Validation = Annotated[str | None, typer.Option(help="With --time: first value of validation. Default: the last 20%.")]
Test = Annotated[str | None, typer.Option(help="With --time: first value of test. Default: the last 10%.")]
DropDuplicates = Annotated[bool, typer.Option(help="Keep the first of rows that are equal in every column.")]
Exclude = Annotated[str, typer.Option(help="Columns to leave out, separated by commas.")]
Ids = Annotated[str, typer.Option(help="Columns that are ids, separated by commas, whatever they look like.")]
Numeric = Annotated[str, typer.Option(help="Columns that are numbers, separated by commas, whatever they look like.")]
SchemaFile = Annotated[
    Path | None, typer.Option("--schema", help="Schema as JSON. Default: inferred from the columns.")
]
ItemSide = Annotated[
    str, typer.Option("--item", help="With --model two_tower: features of the item's side, separated by commas.")
]
Dimension = Annotated[int, typer.Option(help="Width of the embedding table, in networks that have one.")]
Hidden = Annotated[str, typer.Option(help="Widths of the tower, separated by commas, in networks that have one.")]
Epochs = Annotated[int, typer.Option(help="Most epochs; training stops early where validation AUC stops rising.")]
Seed = Annotated[int, typer.Option(help="Seed of split, weights and order.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines on standard output.")]


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
def train(
    table: Table,
    target: Target,
    out: Annotated[Path, typer.Option(help="Folder for the SavedModel and its schema.")],
    model: Model = "mlp",
    custom_objects: CustomObjects = "",
    trust_lambdas: TrustLambdas = False,
    group: Group = None,
    time: Time = None,
    validation: Validation = None,
    test: Test = None,
    ids: Ids = "",
    numeric: Numeric = "",
    exclude: Exclude = "",
    drop_duplicates: DropDuplicates = False,
    schema: SchemaFile = None,
    dimension: Dimension = 16,
    hidden: Hidden = "400,400,400",
    item: ItemSide = "",
    epochs: Epochs = 10,
    missing: Missing = None,
    query: Query = None,
    parameter: Parameter = None,
    resume_key: ResumeKey = None,
    cache: Cache = None,
    seed: Seed = 0,
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
    options = dict(locals())
    how = {name: options[name] for name in ("checkpoint", "checkpoint_every", "workers", "worker_index")}
    _run(lambda actions: actions.train(_task(options), out, how), as_json)


@app.command()
def compress(
    table: Table,
    target: Target,
    out: Annotated[Path, typer.Option(help="Folder for the artifact: model.tflite, schema, golden scores …")],
    plan: Annotated[
        str,
        typer.Option(
            help="int8, float16, fast, small_download, careful, classic, qat_int8, prune_int8, distill_int8, or a plan "
            "as a JSON file."
        ),
    ] = "int8",
    trained: Annotated[
        Path | None, typer.Option(help="Folder written by `tfshop train` with the same table and options.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Folder for the report. Default: report/<name of --out>.")] = None,
    fit: Annotated[
        bool, typer.Option("--fit", help="Train a --model of your own on this table first; its ids are then new ones.")
    ] = False,
    max_auc_drop: Annotated[float | None, typer.Option(help="Most AUC that may be lost (lower end of 95%).")] = None,
    max_size_bytes: Annotated[int | None, typer.Option(help="Largest size of model.tflite.")] = None,
    retry: Annotated[bool, typer.Option(help="Step back to gentler plans until the limits are met.")] = False,
    model: Model = "mlp",
    custom_objects: CustomObjects = "",
    trust_lambdas: TrustLambdas = False,
    group: Group = None,
    time: Time = None,
    validation: Validation = None,
    test: Test = None,
    ids: Ids = "",
    numeric: Numeric = "",
    exclude: Exclude = "",
    drop_duplicates: DropDuplicates = False,
    schema: SchemaFile = None,
    dimension: Dimension = 16,
    hidden: Hidden = "400,400,400",
    item: ItemSide = "",
    epochs: Epochs = 10,
    missing: Missing = None,
    query: Query = None,
    parameter: Parameter = None,
    resume_key: ResumeKey = None,
    cache: Cache = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Train on a table, compress along a plan, export, audit and measure.

    Example: tfshop compress data.parquet --target bought --model deepfm --plan int8 --out tflite/mine
    """
    options = dict(locals())
    limits = {"max_auc_drop": max_auc_drop, "max_size_bytes": max_size_bytes, "retry": retry}
    places = {"out": out, "report": report or Path("report") / out.name, "trained": trained}
    _run(lambda actions: actions.compress(_task(options), plan, limits, places), as_json)


@app.command()
def sensitivity(
    table: Table,
    target: Target,
    out: Annotated[
        Path, typer.Option(help="Folder for table and picture; a run that was killed goes on from what is there.")
    ],
    techniques: Annotated[
        str, typer.Option(help="Prune, PruneUnits, LowRank, Quantize, separated by commas. Default: all.")
    ] = "",
    rows: Annotated[int, typer.Option(help="Most validation rows to score.")] = 50_000,
    trained: Annotated[
        Path | None, typer.Option(help="Folder written by `tfshop train` with the same table and options.")
    ] = None,
    fit: Annotated[
        bool, typer.Option("--fit", help="Train a --model of your own on this table first; its ids are then new ones.")
    ] = False,
    model: Model = "mlp",
    custom_objects: CustomObjects = "",
    trust_lambdas: TrustLambdas = False,
    group: Group = None,
    time: Time = None,
    validation: Validation = None,
    test: Test = None,
    ids: Ids = "",
    numeric: Numeric = "",
    exclude: Exclude = "",
    drop_duplicates: DropDuplicates = False,
    schema: SchemaFile = None,
    dimension: Dimension = 16,
    hidden: Hidden = "400,400,400",
    item: ItemSide = "",
    epochs: Epochs = 10,
    missing: Missing = None,
    query: Query = None,
    parameter: Parameter = None,
    resume_key: ResumeKey = None,
    cache: Cache = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Measure which layers stand zeros, fewer units, a lower rank and fewer bits: one at a time, without training."""
    options = dict(locals())
    wanted = _names(techniques) or None
    _run(lambda actions: actions.sensitivity(_task(options), trained, out, {"passes": wanted, "rows": rows}), as_json)


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
    source = _source(dict(locals()))
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


def _task(options: Mapping[str, Any]) -> Any:
    """The options that say what is learned from which rows."""
    from tfshop.cli.task import Task

    names = (
        "model",
        "group",
        "time",
        "validation",
        "test",
        "schema",
        "dimension",
        "epochs",
        "seed",
        "drop_duplicates",
        "custom_objects",
        "trust_lambdas",
    )
    listed: dict[str, Any] = {
        "target": _names(",".join(options["target"])),
        **{name: _names(options[name]) for name in ("exclude", "ids", "numeric", "item")},
        "hidden": _integers("--hidden", options["hidden"]),
        "fit": options.get("fit", True),
    }
    return Task(source=_source(options), **{name: options[name] for name in names}, **listed)


def _source(options: Mapping[str, Any]) -> Any:
    """The options that say where the rows are."""
    from tfshop.cli.source import Source

    named = tuple(_name_and_value(text) for text in options["parameter"] or ())
    missing = tuple(options["missing"] or ())
    return Source(options["table"], options["query"], named, options["resume_key"], options["cache"], missing)


def _name_and_value(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise typer.BadParameter(f"--parameter is {text!r}. Expected NAME=VALUE, as day=2024-01-31.")
    return name, value


def _names(text: str) -> tuple[str, ...]:
    """Names separated by commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _integers(option: str, text: str) -> tuple[int, ...]:
    """Whole numbers of an option such as `400,400`."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"{option} is {text!r}. Expected whole numbers separated by commas, as 400,400."
        ) from None


def _complain(message: object) -> None:
    typer.echo(f"tfshop: {message}", err=True)
