"""Rows that stand in a table more than once."""

# ruff: noqa: S608  (names and texts in the SQL are quoted, by `quote` and `text_literal`)
from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tfshop.data.checks import require_columns
from tfshop.data.columns import quote, text_literal
from tfshop.data.opening import read_table
from tfshop.data.splits import ROW
from tfshop.data.table import NUMBERED, Table


def count_duplicates(table: Table, columns: Sequence[str] | None = None) -> int:
    """Return how many rows repeat an earlier one.

    In a log of purchases two equal rows may be two purchases, so that tfshop never drops rows by itself.

    Args:
        table: A table from `read_table`.
        columns: What has to be equal, such as the id of the event. Default: every column.

    Raises:
        SchemaError: For a column the table has not.

    Example:
        >>> import pyarrow as pa
        >>> count_duplicates(read_table(pa.table({"user": [1, 1, 1], "item": ["a", "a", "b"]})))
        1
    """
    names = _named(table, columns)
    return int(table.sql(f"SELECT count(*) - count(DISTINCT ({names})) FROM rows")[0][0])


def drop_duplicates(table: Table, columns: Sequence[str] | None = None) -> Table:
    """Return the table with the first of each group of equal rows, in their order.

    The rows are written to a temporary Parquet file, which goes when the table does.

    Args:
        table: A table from `read_table`.
        columns: What has to be equal. Default: every column.

    Raises:
        SchemaError: For a column the table has not.

    Example:
        >>> import pyarrow as pa
        >>> table = read_table(pa.table({"user": [1, 2, 1], "item": ["b", "a", "b"]}))
        >>> drop_duplicates(table).sql("SELECT * FROM rows")
        [(1, 'b'), (2, 'a')]
    """
    names = _named(table, columns)
    folder = Path(tempfile.mkdtemp(prefix="tfshop-"))
    owner = _Owner()
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    path = folder / "rows.parquet"
    first = f"SELECT min({ROW}) FROM {NUMBERED} GROUP BY {names}"
    kept = f"SELECT * EXCLUDE ({ROW}) FROM {NUMBERED} WHERE {ROW} IN ({first}) ORDER BY {ROW}"
    table.sql(f"COPY ({kept}) TO {text_literal(str(path))} (FORMAT parquet)")
    return replace(read_table(path), name=table.name, owner=owner)


class _Owner:
    """Lives as long as a table whose file goes with it."""


def _named(table: Table, columns: Sequence[str] | None) -> str:
    names = list(table.columns) if columns is None else list(columns)
    require_columns(table, [(name, "duplicates are told by") for name in names])
    return ", ".join(quote(name) for name in names)
