"""What a command line asks to be learned, and the prepared data and model it means."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfshop._console import say
from tfshop.cli.source import Source
from tfshop.data import GroupSplit, RandomSplit, Schema, TimeSplit, count_duplicates, drop_duplicates, prepare
from tfshop.data.split import Splits
from tfshop.data.table import Table
from tfshop.errors import DataError, ModelError, SchemaError, TfshopError
from tfshop.models import MODELS, build_model, known_hyperparameters
from tfshop.training import train

VALIDATION_FROM, TEST_FROM = 0.8, 0.9  # of the rows in order of time
MOST_ROWS_COMPARED = 5_000_000  # beyond, counting duplicates would take longer than it is worth unasked
SMALLEST_BATCH, LARGEST_BATCH = 64, 4096
BATCHES_AN_EPOCH = 100  # a small table in large batches would see a handful of steps


@dataclass(frozen=True)
class Task:
    """Options of a command, as they were given."""

    source: Source
    target: tuple[str, ...]
    model: str
    group: str | None
    time: str | None
    validation: str | None
    test: str | None
    schema: Path | None
    dimension: int
    epochs: int
    seed: int
    drop_duplicates: bool
    exclude: tuple[str, ...]
    ids: tuple[str, ...]
    numeric: tuple[str, ...]
    hidden: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise ModelError(
                f"no network is called {self.model!r}. Expected one of {', '.join(MODELS)}. Fix: --model mlp."
            )
        numbers = {"--dimension": (self.dimension,), "--epochs": (self.epochs,), "--hidden": self.hidden}
        for option, values in numbers.items():
            if min(values) < 1:
                raise ModelError(f"{option} is {min(values)}. Expected at least 1. Fix: leave {option} out.")

    def prepare(self) -> Splits:
        """Read, infer or read the schema, split and encode."""
        table = self._without_duplicates(self.source.read())
        schema = self._schema(table)
        for line in schema.describe().splitlines():
            say(f"  {line}")
        batch_size = _batch_size(table.num_rows)
        return prepare(table, schema, split=self._split(table), batch_size=batch_size)

    def trained_model(self, data: Splits, **how: Any) -> Any:
        """Build the network and train it; `how` are further arguments of `train`."""
        known = known_hyperparameters(self.model)  # a factorization machine has no tower
        settings = {"dimension": self.dimension, "hidden": self.hidden}
        settings = {name: value for name, value in settings.items() if name in known}
        model = build_model(self.model, data.schema, seed=self.seed, **settings)
        train(model, data, epochs=self.epochs, seed=self.seed, **how)
        return model

    def _without_duplicates(self, table: Table) -> Table:
        """Say how many rows repeat earlier ones, and drop them where that was asked for."""
        if self.drop_duplicates:
            kept = drop_duplicates(table)
            say(
                f"  {table.num_rows - kept.num_rows:,} of {table.num_rows:,} rows repeat an earlier one and are dropped"
            )
            return kept
        repeated = count_duplicates(table) if table.num_rows <= MOST_ROWS_COMPARED else 0
        if repeated:
            say(
                f"  {repeated:,} of {table.num_rows:,} rows repeat an earlier one and are kept; "
                "--drop-duplicates drops them"
            )
        return table

    def _schema(self, table: Table) -> Schema:
        if self.schema is None:
            return Schema.infer(
                table,
                target=self.target,
                group=self.group,
                time=self.time,
                exclude=self.exclude,
                ids=self.ids,
                numeric=self.numeric,
            )
        if self.ids or self.numeric or self.exclude:
            raise SchemaError(
                "--ids, --numeric and --exclude say how columns are taken where the schema is inferred, and --schema "
                "gives one. Expected either. Fix: change the schema's JSON, or leave --schema out."
            )
        try:
            schema = Schema.from_json(self.schema.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise SchemaError(f"{self.schema} cannot be read: {error}. Fix: write it with Schema.to_json().") from error
        return schema.replace(target=self.target, vocabularies={}, statistics={})

    def _split(self, table: Table) -> Any:
        if self.time is None:
            if self.validation or self.test:
                raise DataError("--validation and --test say from when on, but --time is missing. Fix: --time COLUMN.")
            return GroupSplit(self.group, seed=self.seed) if self.group else RandomSplit(seed=self.seed)
        if self.validation is None or self.test is None:
            validation, test = _cuts(table, self.time)
            say(f"  split in time: validation from {validation}, test from {test}")
            return TimeSplit(self.time, validation=validation, test=test)
        return TimeSplit(self.time, validation=_literal(self.validation), test=_literal(self.test))


def _cuts(table: Table, column: str) -> tuple[Any, Any]:
    """The values from which the last 20% and 10% of the rows begin."""
    if column not in table.columns:
        raise SchemaError(f"column {column!r} is not in the table. Expected one of {', '.join(table.columns)}.")
    quoted = '"' + column.replace('"', '""') + '"'
    rows = table.sql(
        f"SELECT quantile_disc({quoted}, {VALIDATION_FROM}), quantile_disc({quoted}, {TEST_FROM}) FROM rows"  # noqa: S608
    )
    return rows[0][0], rows[0][1]


def _literal(text: str) -> Any:
    """A number where the text is one, else the text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _batch_size(num_rows: int) -> int:
    """A power of two that leaves about a hundred steps an epoch, within bounds."""
    wanted = max(1, num_rows // BATCHES_AN_EPOCH)
    return min(LARGEST_BATCH, max(SMALLEST_BATCH, 1 << (wanted.bit_length() - 1)))


def read_plan(name: str) -> Any:
    """A recipe by name, or a plan from a JSON file.

    Raises:
        TfshopError: For neither.
    """
    from tfshop.export import Plan
    from tfshop.recipes import RECIPES

    if name in RECIPES:
        return RECIPES[name]()
    path = Path(name)
    if not path.is_file():
        raise TfshopError(
            f"--plan is {name!r}, no recipe and no file. Expected one of {', '.join(RECIPES)}, or a JSON file. "
            "Fix: --plan int8."
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TfshopError(f"{path} cannot be read: {error}. Expected a plan as JSON text.") from error
    return Plan.from_json(text)


def schema_of_training(folder: Path) -> Schema:
    """The schema that `tfshop train` wrote beside its SavedModel.

    Raises:
        TfshopError: Where the folder is not one that `tfshop train` wrote.
    """
    path = folder / "tfshop_schema.json"
    if not path.is_file():
        raise TfshopError(
            f"{folder} has no {path.name}. Expected a folder that `tfshop train` wrote. Fix: check --trained."
        )
    return Schema.from_json(json.dumps(json.loads(path.read_text(encoding="utf-8"))))
