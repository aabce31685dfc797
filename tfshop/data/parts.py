"""Which part of a split each row is in, and its labels there."""

# ruff: noqa: S608  (names in the SQL are quoted, by `quote`)
from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tfshop.data.columns import kind_of, quote
from tfshop.data.labels import Labels, label_rows, require_both_classes, require_zero_or_one
from tfshop.data.schema import Schema
from tfshop.data.splits import PARTS, SplitRule, TimeSplit
from tfshop.data.table import Table
from tfshop.errors import DataError

_PART = "tfshop_part"


def parts_and_labels(table: Table, schema: Schema, split: SplitRule) -> tuple[npt.NDArray[np.int8], Labels]:
    """Return each row's part, int8 (n,), and its labels, float32 (n,) of one target and (n, targets) of several.

    Raises:
        DataError: For a row without a part, a part without rows, and labels that are missing, odd, or all the same in
            a part.
        SchemaError: For a target whose type cannot hold labels.
    """
    parts, labels = label_rows(table, split.part_sql(table.columns), schema.targets)
    _require_parts(table, split, parts)
    require_zero_or_one(table, schema.targets, labels)
    require_both_classes(schema.targets, labels, parts)
    return parts, labels


def _require_parts(table: Table, split: SplitRule, parts: npt.NDArray[np.int8]) -> None:
    missing = int((parts < 0).sum())
    if missing:
        is_text = split.column is not None and kind_of(table.columns[split.column]) == "text"
        what = "missing, or no text that sorts in time as 2024-12-31 does," if is_text else "missing"
        raise DataError(
            f"column {split.column!r} of {type(split).__name__} is {what} in {missing:,} of {len(parts):,} rows "
            f"(first: row {int(np.argmax(parts < 0))}). Expected a value in every row. Fix: drop, fill or convert them."
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


def training_rows(table: Table, split: SplitRule, parts: npt.NDArray[np.int8]) -> tuple[Table, str]:
    """Return the table, and SQL that is 0 in the rows to train on.

    A comparison of times is cheap; the hash of another rule is slower than counting, and known by now.
    """
    if isinstance(split, TimeSplit):
        return table, split.part_sql(table.columns)
    return table.with_column(_PART, pa.array(parts)), quote(_PART)
