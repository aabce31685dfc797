"""The targets: a label for every row and each of them, 0 or 1 and nothing else."""

# ruff: noqa: S608  (names and texts in the SQL are quoted, by `quote` and `text_literal`)
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tfshop.data.checks import require_columns
from tfshop.data.columns import kind_of, label_sql, quote
from tfshop.data.encoding import ROWS_PER_BATCH
from tfshop.data.splits import PARTS, ROW
from tfshop.data.table import NUMBERED, Table
from tfshop.errors import DataError, SchemaError

Labels = npt.NDArray[np.float32]


def read_labels(table: Table, target: str | Sequence[str]) -> Labels:
    """Return the target of every row of a table that is scored rather than learned from.

    Returns:
        float32, shape (n,), 0 or 1, in the table's order; (n, targets) of several targets.

    Raises:
        SchemaError: Where a target is not in the table, or no column of labels.
        DataError: For missing values, and others than 0 and 1.

    Example:
        >>> from tfshop.data import read_table
        >>> import pyarrow as pa
        >>> read_labels(read_table(pa.table({"bought": [True, False]})), "bought").tolist()
        [1.0, 0.0]
    """
    targets = (target,) if isinstance(target, str) else tuple(target)
    require_columns(table, [(column, "the target") for column in targets])
    _, labels = label_rows(table, "0", targets)
    require_zero_or_one(table, targets, labels)
    return labels


def require_label(table: Table, target: str) -> str:
    """Return SQL for the label, and raise where the column's type cannot hold one."""
    target_type = table.columns[target]
    if kind_of(target_type) in {"list", "date", "other"}:
        raise SchemaError(
            f"the target {target!r} has type {target_type}. Expected 0 and 1. Fix: name the right column."
        )
    return label_sql(target, target_type)


def label_rows(table: Table, part_sql: str, targets: Sequence[str]) -> tuple[npt.NDArray[np.int8], Labels]:
    """Return each row's part and its labels, (n,) of one target and (n, targets) of several.

    Returns:
        int8 parts, -1 where the split's column is missing; float32 labels, NaN where missing, -1 where odd.

    Raises:
        SchemaError: For a target whose type cannot hold labels.
    """
    columns = [f"CAST({require_label(table, target)} AS FLOAT)" for target in targets]
    parts = np.full(table.num_rows, -1, np.int8)
    labels = np.full((table.num_rows, len(targets)), np.nan, np.float32)
    query = f"SELECT {ROW}, CAST(coalesce({part_sql}, -1) AS TINYINT), {', '.join(columns)} FROM {NUMBERED}"
    for batch in table.batches(query, ROWS_PER_BATCH):
        rows = batch.column(0).to_numpy()
        parts[rows] = batch.column(1).to_numpy(zero_copy_only=False)
        for position in range(len(targets)):
            labels[rows, position] = batch.column(2 + position).to_numpy(zero_copy_only=False)
    return parts, labels[:, 0] if len(targets) == 1 else labels


def require_zero_or_one(table: Table, targets: Sequence[str], labels: Labels) -> None:
    """Raise where a label is missing (NaN), or neither 0 nor 1 (-1)."""
    for target, column in zip(targets, labels.reshape(len(labels), -1).T, strict=True):
        _require_one_column(table, target, column)


def _require_one_column(table: Table, target: str, labels: Labels) -> None:
    missing, odd = np.isnan(labels), labels < 0
    if missing.any():
        raise DataError(
            f"the target {target!r} is missing in {int(missing.sum()):,} of {len(labels):,} rows (first: row "
            f"{int(np.argmax(missing))}). Expected 0 or 1 in every row. Fix: drop those rows."
        )
    if odd.any():
        value = table.sql(f"SELECT {quote(target)} FROM rows WHERE {require_label(table, target)} = -1 LIMIT 1")[0][0]
        raise DataError(
            f"the target {target!r} is neither 0 nor 1 in {int(odd.sum()):,} of {len(labels):,} rows (first: row "
            f"{int(np.argmax(odd))}, {value!r}). Expected 0/1 or true/false. Fix: make it so, e.g. rating >= 4."
        )


def require_both_classes(targets: Sequence[str], labels: Labels, parts: npt.NDArray[np.int8]) -> None:
    """Raise where a target is all 0 or all 1 in one of the splits."""
    for part, name in enumerate(PARTS):
        for target, column in zip(targets, labels.reshape(len(labels), -1).T, strict=True):
            found = column[parts == part]
            if found.min() == found.max():
                raise DataError(
                    f"the target {target!r} is {found[0]:.0f} in all {len(found):,} rows of the {name} split. "
                    "Expected both 0 and 1. Fix: choose another split, or check the target."
                )
