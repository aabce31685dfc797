"""From a table to encoded splits: refuse, count, encode, measure."""

# ruff: noqa: S608  (names and texts in the SQL are quoted, by `quote` and `text_literal`)
from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tfshop.data.checks import check_features, require_columns
from tfshop.data.columns import quote, text_literal
from tfshop.data.encoding import Packed, Placement, encode, encode_groups
from tfshop.data.fitting import fit_statistics, fit_vocabularies
from tfshop.data.labels import label_rows, require_label, require_zero_or_one
from tfshop.data.schema import Schema
from tfshop.data.split import Split, Splits, require_batch_size
from tfshop.data.splits import PARTS, SplitRule
from tfshop.data.table import Table, read_table
from tfshop.errors import DataError


def prepare(table: object, schema: Schema, *, split: SplitRule, batch_size: int = 4096, refit: bool = True) -> Splits:
    """Return the table's rows encoded in three parts, and the schema fitted on the first alone.

    Rows keep the table's order within a part. Ids are int32, and everything lies in memory: 4 bytes a value.

    Args:
        table: A `Table`, or anything `read_table` takes.
        schema: What the columns are.
        split: `TimeSplit`, `GroupSplit` or `RandomSplit`.
        batch_size: Rows of a batch.
        refit: Whether vocabularies and statistics are taken from these rows. False keeps those of a fitted schema,
            which a network that was trained with them needs.

    Raises:
        SchemaError: For columns that are not in the table, not of their declared kind, or all missing; without `refit`,
            for a schema that is not fitted.
        DataError: For an empty part, a target that is not 0/1 or has one class only, and infinite numbers.

    Example:
        >>> import pyarrow as pa
        >>> from tfshop.data import IdFeature, TimeSplit
        >>> rows = pa.table({"item": ["a", "b"] * 6, "day": [1] * 4 + [2] * 4 + [3] * 4, "bought": [0, 1] * 6})
        >>> schema = Schema([IdFeature("item")], target="bought", time="day")
        >>> prepare(rows, schema, split=TimeSplit("day", validation=2, test=3)).test.inputs["ids"].ravel().tolist()
        [1, 2, 1, 2]
    """
    source = read_table(table)
    require_batch_size(batch_size)
    if not isinstance(split, SplitRule):
        raise DataError(
            f"split is {split!r}. Expected TimeSplit, GroupSplit or RandomSplit. "
            "Fix: split=TimeSplit('week', validation=43, test=45)."
        )
    _require_named(source, schema, split)
    if not refit:
        schema.require_fitted()
    with _parsed_once(source, _needed(schema, split)) as rows:
        parts, labels = _label(rows, schema, split)
        check_features(rows, schema, for_training=True)
        fitted = schema
        if refit:
            fitted = schema.replace(vocabularies=fit_vocabularies(rows, schema, split.part_sql(rows.columns)))
        packed = encode(rows, fitted, Placement.of(parts, len(PARTS)))
        groups = encode_groups(rows, schema.group) if schema.group else None
    if refit:
        fitted = fitted.replace(statistics=fit_statistics(fitted, packed[0]))
    return _assemble(fitted, packed, (parts, labels, groups), batch_size)


def _require_named(table: Table, schema: Schema, split: SplitRule) -> None:
    named = [(schema.target, "the target"), (schema.group, "the group"), (schema.time, "the time")]
    named += [(split.column, f"the column of {type(split).__name__}")]
    named += [(feature.name, "feature") for feature in schema.features]
    require_columns(table, [(column, role) for column, role in named if column is not None])


def _needed(schema: Schema, split: SplitRule) -> list[str]:
    named = [feature.name for feature in schema.features]
    named += [column for column in (schema.target, schema.group, split.column) if column is not None]
    return list(dict.fromkeys(named))


@contextmanager
def _parsed_once(table: Table, columns: list[str]) -> Iterator[Table]:
    """Yield the table as it is, or, where it is text, as a temporary Parquet file: each scan would parse it again."""
    if not table.is_text:
        yield table
        return
    with tempfile.TemporaryDirectory(prefix="tfshop-") as folder:
        path = Path(folder) / "rows.parquet"
        selected = ", ".join(quote(column) for column in columns)
        table.sql(f"COPY (SELECT {selected} FROM rows) TO {text_literal(str(path))} (FORMAT parquet)")
        yield read_table(path).renamed(table.name)


def _label(table: Table, schema: Schema, split: SplitRule) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Return each row's part and label, both checked."""
    parts, labels = label_rows(table, split.part_sql(table.columns), require_label(table, schema.target))
    _require_parts(table, split, parts)
    require_zero_or_one(table, schema.target, labels)
    for part, name in enumerate(PARTS):
        found = labels[parts == part]
        if found.min() == found.max():
            raise DataError(
                f"the target {schema.target!r} is {found[0]:.0f} in all {len(found):,} rows of the {name} split. "
                "Expected both 0 and 1. Fix: choose another split, or check the target."
            )
    return parts, labels


def _require_parts(table: Table, split: SplitRule, parts: npt.NDArray[np.int8]) -> None:
    missing = int((parts < 0).sum())
    if missing:
        raise DataError(
            f"column {split.column!r} of {type(split).__name__} is missing in {missing:,} of {len(parts):,} rows "
            f"(first: row {int(np.argmax(parts < 0))}). Expected a value in every row. Fix: drop or fill those rows."
        )
    for part, name in enumerate(PARTS):
        if not (parts == part).any():
            raise DataError(
                f"the {name} split of {split} is empty: {_range(table, split)}. Expected rows in every split. "
                "Fix: move the limits, or give the table more rows."
            )


def _range(table: Table, split: SplitRule) -> str:
    if split.column is None:
        return f"the table has {table.num_rows:,} rows"
    column = quote(split.column)
    low, high, distinct = table.sql(f"SELECT min({column}), max({column}), count(DISTINCT {column}) FROM rows")[0]
    return f"column {split.column!r} goes from {low!s} to {high!s} ({distinct:,} values)"


def _assemble(
    schema: Schema,
    packed: list[Packed],
    rows: tuple[npt.NDArray[np.int8], npt.NDArray[np.float32], npt.NDArray[np.int64] | None],
    batch_size: int,
) -> Splits:
    parts, labels, groups = rows
    made = []
    for part, name in enumerate(PARTS):
        chosen = parts == part
        group = None if groups is None else groups[chosen]
        made.append(Split(name, packed[part], labels[chosen], group, batch_size, schema))
    train, validation, test = made
    return Splits(train, validation, test, schema)
