"""Options that several commands share, each declared once, and what is meant by their values."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from tfshop.cli.source import Source
    from tfshop.cli.task import Task

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
    str,
    typer.Option(
        "--item",
        help="With --model two_tower: features of the item's side, separated by commas. Clicks are learned row by row; "
        "in-batch softmax is train_two_tower in Python.",
    ),
]
Dimension = Annotated[int, typer.Option(help="Width of the embedding table, in networks that have one.")]
Hidden = Annotated[str, typer.Option(help="Widths of the tower, separated by commas, in networks that have one.")]
Epochs = Annotated[int, typer.Option(help="Most epochs; training stops early where validation AUC stops rising.")]
Seed = Annotated[int, typer.Option(help="Seed of split, weights and order.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines on standard output.")]
Trained = Annotated[Path | None, typer.Option(help="Folder written by `tfshop train` with the same table and options.")]
Fit = Annotated[
    bool, typer.Option("--fit", help="Train a --model of your own on this table first; its ids are then new ones.")
]


@dataclass(frozen=True)
class Learning:
    """What is learned from which rows: the options of every command that trains, with what they are by default."""

    model: Model = "mlp"
    custom_objects: CustomObjects = ""
    trust_lambdas: TrustLambdas = False
    group: Group = None
    time: Time = None
    validation: Validation = None
    test: Test = None
    ids: Ids = ""
    numeric: Numeric = ""
    exclude: Exclude = ""
    drop_duplicates: DropDuplicates = False
    schema: SchemaFile = None
    dimension: Dimension = 16
    hidden: Hidden = "400,400,400"
    item: ItemSide = ""
    epochs: Epochs = 10
    missing: Missing = None
    query: Query = None
    parameter: Parameter = None
    resume_key: ResumeKey = None
    cache: Cache = None
    seed: Seed = 0

    def task(self, table: str, target: Sequence[str], *, fit: bool = True) -> Task:
        """What they ask for of a table.

        Raises:
            typer.BadParameter: For text that is not of an option's form.
        """
        from tfshop.cli.task import Task

        return Task(
            source=source_of(table, self.query, self.parameter, self.resume_key, self.cache, self.missing),
            target=names(",".join(target)),
            model=self.model,
            group=self.group,
            time=self.time,
            validation=self.validation,
            test=self.test,
            schema=self.schema,
            dimension=self.dimension,
            epochs=self.epochs,
            seed=self.seed,
            drop_duplicates=self.drop_duplicates,
            exclude=names(self.exclude),
            ids=names(self.ids),
            numeric=names(self.numeric),
            hidden=_integers("--hidden", self.hidden),
            item=names(self.item),
            custom_objects=self.custom_objects,
            trust_lambdas=self.trust_lambdas,
            fit=fit,
        )


def with_learning_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command have the options of `Learning` where it has the argument `learning`, which gets their values.

    Typer reads options off a signature, one an argument: this writes that signature.
    """
    hints = get_type_hints(Learning, include_extras=True)
    shared = [
        inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=hints[one.name])
        for one in fields(Learning)
    ]

    @wraps(command)
    def run(**given: Any) -> None:
        learning = Learning(**{one.name: given.pop(one.name) for one in shared})
        command(**given, learning=learning)

    own = inspect.signature(command, eval_str=True)
    parameters = [
        one for name, argument in own.parameters.items() for one in (shared if name == "learning" else [argument])
    ]
    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # what `inspect` looks for
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def source_of(
    table: str,
    query: str | None,
    parameter: Sequence[str] | None,
    resume_key: str | None,
    cache: Path | None,
    missing: Sequence[str] | None,
) -> Source:
    """Where the rows are.

    Raises:
        typer.BadParameter: For a parameter that is not NAME=VALUE.
    """
    from tfshop.cli.source import Source

    named = tuple(_name_and_value(text) for text in parameter or ())
    return Source(table, query, named, resume_key, cache, tuple(missing or ()))


def _name_and_value(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise typer.BadParameter(f"--parameter is {text!r}. Expected NAME=VALUE, as day=2024-01-31.")
    return name, value


def names(text: str) -> tuple[str, ...]:
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
