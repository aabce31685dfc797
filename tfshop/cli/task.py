"""What a command line asks to be learned, and the prepared data and model it means."""

from __future__ import annotations

import importlib
import importlib.util
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
from tfshop.models import MODELS, build_model, known_hyperparameters, load_model
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
    item: tuple[str, ...] = ()
    custom_objects: str = ""
    trust_lambdas: bool = False
    fit: bool = True

    def __post_init__(self) -> None:
        if self.model not in MODELS and not Path(self.model).exists():
            raise ModelError(
                f"no network and no file is called {self.model!r}. Expected one of {', '.join(MODELS)}, or the path "
                "of a .keras or .h5 file or a SavedModel folder. Fix: --model mlp."
            )
        if bool(self.item) != (self.model == "two_tower"):
            raise ModelError(
                f"--model is {self.model} and --item is {','.join(self.item) or 'not given'}. Expected --item with "
                "--model two_tower, and with no other. Fix: --model two_tower --item item_id,brand."
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
        return prepare(table, schema, split=self._split(table), batch_size=batch_size, refit=not self._is_ready)

    def trained_model(self, data: Splits, **how: Any) -> Any:
        """Build the network, or load it, and train it unless it comes trained; `how` goes to `train`."""
        if self.model in MODELS:
            known = known_hyperparameters(self.model)  # a factorization machine has no tower
            settings: dict[str, Any] = {"dimension": self.dimension, "hidden": self.hidden}
            settings = {name: value for name, value in settings.items() if name in known}
            settings |= {"item": self.item} if self.item else {}
            model = build_model(self.model, data.schema, seed=self.seed, **settings)
        else:
            model = load_model(self.model, custom_objects(self.custom_objects), trust_lambdas=self.trust_lambdas)
        if self.model in MODELS or self.fit:
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
        if self.schema is None and self._is_ready:
            raise SchemaError(
                f"{self.model} was trained with ids that this table alone does not tell. Expected the fitted schema of "
                "its training. Fix: --schema schema.json, as data.schema.to_json() wrote it, or --fit to train the "
                "network on this table first."
            )
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
        if self._is_ready:
            return schema.replace(target=self.target)
        return schema.replace(target=self.target, vocabularies={}, statistics={})

    @property
    def _is_ready(self) -> bool:
        """Whether the network comes with weights that are to be used as they are."""
        return self.model not in MODELS and not self.fit

    def _split(self, table: Table) -> Any:
        if self.time is None:
            if self.validation or self.test:
                raise DataError("--validation and --test say from when on, but --time is missing. Fix: --time COLUMN.")
            return GroupSplit(self.group, seed=self.seed) if self.group else RandomSplit(seed=self.seed)
        given = (self.validation, self.test)
        cuts = _cuts(table, self.time) if None in given else given
        validation, test = (cut if own is None else _literal(own) for cut, own in zip(cuts, given, strict=True))
        if None in given:
            say(f"  split in time: validation from {validation}, test from {test}")
        return TimeSplit(self.time, validation=validation, test=test)


def custom_objects(text: str) -> dict[str, Any]:
    """Classes and functions named as `module:Name` or `file.py:Name`, by name; the modules are imported.

    Raises:
        ModelError: For another form, a module that is not there, or a name it does not have.
    """
    found = {}
    for part in (part.strip() for part in text.split(",") if part.strip()):
        source, _, name = part.rpartition(":")
        try:
            if not source:
                raise ImportError("it names no module")
            found[name] = getattr(_imported(source), name)
        except (ImportError, AttributeError, OSError) as error:
            raise ModelError(
                f"--custom-objects has {part!r}: {error}. Expected package.module:Name or file.py:Name. "
                "Fix: --custom-objects layers.py:Cross."
            ) from error
    return found


def _imported(source: str) -> Any:
    if not source.endswith(".py"):
        return importlib.import_module(source)
    spec = importlib.util.spec_from_file_location(Path(source).stem, source)
    if spec is None or spec.loader is None:
        raise ImportError(f"{source} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
