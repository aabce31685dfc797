"""The target: a label for every row, 0 or 1 and nothing else."""

# ruff: noqa: S608  (names and texts in the SQL are quoted, by `quote` and `text_literal`)
from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tfshop.data.checks import require_columns
from tfshop.data.columns import kind_of, label_sql, quote
from tfshop.data.encoding import ROWS_PER_BATCH
from tfshop.data.splits import ROW
from tfshop.data.table import NUMBERED, Table
from tfshop.errors import DataError, SchemaError


def read_labels(table: Table, target: str) -> npt.NDArray[np.float32]:
    """Return the target of every row of a table that is scored rather than learned from.

    Returns:
        float32, shape (n,), 0 or 1, in the table's order.

    Raises:
        SchemaError: Where the target is not in the table, or no column of labels.
        DataError: For missing values, and others than 0 and 1.

    Example:
        >>> from tfshop.data import read_table
        >>> import pyarrow as pa
        >>> read_labels(read_table(pa.table({"bought": [True, False]})), "bought").tolist()
        [1.0, 0.0]
    """
    require_columns(table, [(target, "the target")])
    _, labels = label_rows(table, "0", require_label(table, target))
    require_zero_or_one(table, target, labels)
    return labels


def require_label(table: Table, target: str) -> str:
    """Return SQL for the label, and raise where the column's type cannot hold one."""
    target_type = table.columns[target]
    if kind_of(target_type) in {"list", "date", "other"}:
        raise SchemaError(
            f"the target {target!r} has type {target_type}. Expected 0 and 1. Fix: name the right column."
        )
    return label_sql(target, target_type)


def label_rows(table: Table, part_sql: str, label: str) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Return each row's part (-1 where the split's column is missing) and label (NaN where missing, -1 where odd)."""
    parts, labels = np.full(table.num_rows, -1, np.int8), np.full(table.num_rows, np.nan, np.float32)
    query = f"SELECT {ROW}, CAST(coalesce({part_sql}, -1) AS TINYINT), CAST({label} AS FLOAT) FROM {NUMBERED}"
    for batch in table.batches(query, ROWS_PER_BATCH):
        rows = batch.column(0).to_numpy()
        parts[rows] = batch.column(1).to_numpy(zero_copy_only=False)
        labels[rows] = batch.column(2).to_numpy(zero_copy_only=False)
    return parts, labels


def require_zero_or_one(table: Table, target: str, labels: npt.NDArray[np.float32]) -> None:
    """Raise where a label is missing, or neither 0 nor 1."""
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
