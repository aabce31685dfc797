"""Where tables come from: files, data frames, Arrow tables and databases."""

# ruff: noqa: S608  (names and texts in the SQL are quoted, by `quote` and `text_literal`)
from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tfshop._folders import cache_folder
from tfshop.data.columns import quote, text_literal
from tfshop.data.databases import DatabaseRead, is_address, read_database
from tfshop.data.dirty_csv import LONGEST_LINE, delimiter_of, require_csv, require_distinct_names
from tfshop.data.table import PARQUET, Table, described, listed, parquet_scan
from tfshop.errors import DataError

_CSV = (".csv", ".tsv", ".txt")
_SNIFFED_ROWS = 200_000


def read_table(
    source: object,
    *,
    types: Mapping[str, str] | None = None,
    missing: Sequence[str] = (),
    query: str | None = None,
    parameters: Mapping[str, object] | None = None,
    resume_key: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    chunk_rows: int = 100_000,
) -> Table:
    """Return a lazy table over files, a frame, or the rows of a database's query.

    A CSV file has a header line; its column types are read off the first 200,000 rows. Integers written with leading
    zeros ('00123') stay text where those rows show them; to be sure of any column, name its type:
    `types={"item_code": "VARCHAR"}`. Texts that stand for no value ('N/A', 'NULL') are named: `missing=["N/A"]`; an
    empty field always is none. Text is taken byte by byte as it stands, in UTF-8 with or without a byte order mark:
    nothing is trimmed or normalized. Row numbers in messages count from 0.

    A query's rows are streamed into Parquet files, never into memory as a whole. With `resume_key` they are read in
    order of that column, up to the largest value it had at the start, and a read that broke off goes on after the last
    row kept when it is asked for again; without it, it starts over. The password may stand in the address or in the
    environment's TFSHOP_DB_PASSWORD; it is not logged, shown or stored. See docs/databases.md.

    Args:
        source: A CSV, TSV (also .gz) or Parquet path or glob, a list of such paths, a pandas DataFrame, a pyarrow
            Table, or the address of a database: `mysql://user@host/shop`, `postgresql://…`, `sqlite:///shop.db`.
        types: Column name to DuckDB type, for CSV files.
        missing: Texts that stand for a missing value, for CSV files.
        query: For a database: a SELECT, in which `:name` stands for a parameter.
        parameters: The parameters' values.
        resume_key: A unique, indexed column of the query's answer.
        cache: A folder that keeps the rows, which are then not read again until it is removed. Default: they are read
            anew each time, and removed with the table.
        chunk_rows: Rows read at a time.

    Raises:
        DataError: For a missing or unreadable file, columns of mixed types, a table without rows, or a database that
            cannot be read or breaks off.

    Example:
        >>> import pyarrow as pa
        >>> read_table(pa.table({"item": ["a", "b"], "bought": [1, 0]})).columns
        {'item': 'VARCHAR', 'bought': 'BIGINT'}
    """
    if isinstance(source, Table):
        return source
    if isinstance(source, str) and is_address(source):
        if types or missing:
            raise DataError(
                "types= and missing= are for CSV files, and the source is a database. Expected casts in the query. "
                "Fix: query=\"SELECT CAST(code AS CHAR) AS code, NULLIF(price, 'N/A') AS price, … FROM …\"."
            )
        read = DatabaseRead(query or "", dict(parameters or {}), resume_key, chunk_rows)
        return _from_database(source, read, None if cache is None else Path(cache))
    if query is not None or parameters or resume_key is not None or cache is not None:
        raise DataError(
            "query=, parameters=, resume_key= and cache= are for databases, and the source is none. Expected an "
            "address such as mysql://user@host/shop. Fix: leave them out, or correct the address."
        )
    table = _from_files(source, types or {}, missing) if _is_path(source) else _from_memory(source)
    if not table.sql("SELECT 1 FROM rows LIMIT 1"):
        raise DataError(
            f"{table.name} has {len(table.columns)} columns and no rows. Expected at least one row. "
            "Fix: check how it was written."
        )
    return table


def _from_database(source: str, read: DatabaseRead, cache: Path | None) -> Table:
    spill, name, owner = read_database(source, read, cache, cache_folder() / "databases")
    return replace(_from_files(list(spill.files), {}), name=name, owner=owner)


def _is_path(source: object) -> bool:
    return isinstance(source, (str, os.PathLike, list, tuple))


def _without_half_floats(memory: pa.Table) -> pa.Table:
    """The same table with float16 columns as float32, since DuckDB knows no float16."""
    fields = [item.with_type(pa.float32()) if pa.types.is_float16(item.type) else item for item in memory.schema]
    return memory.cast(pa.schema(fields))


def _from_memory(source: object) -> Table:
    memory = _without_half_floats(to_arrow(source))
    require_distinct_names(memory.column_names, "the table")
    draft = Table(name="the table", columns={}, scan="", memory=memory)
    # DuckDB has called a column without a value INTEGER or NULL, depending on its version.
    empty = {field.name: "NULL" for field in memory.schema if pa.types.is_null(field.type)}
    return Table(name="the table", columns={**described(draft), **empty}, scan="", memory=memory)


def to_arrow(source: object) -> pa.Table:
    """Return an Arrow table of a pandas DataFrame, an Arrow table, or a mapping of columns."""
    if isinstance(source, pa.Table):
        return source
    try:
        if isinstance(source, Mapping):
            return pa.table({str(name): pa.array(column, from_pandas=True) for name, column in source.items()})
        if hasattr(source, "iloc") and hasattr(source, "columns"):
            return pa.Table.from_pandas(source, preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError) as error:
        reason = " ".join(str(part) for part in error.args)
        raise DataError(
            f"a column of the frame cannot be read: {reason}. Expected one type a column. "
            "Fix: make it so, e.g. frame['column'].astype(str)."
        ) from error
    raise DataError(
        f"the source is of type {type(source).__name__}. Expected a path, a glob, a list of paths, a pandas DataFrame "
        "or a pyarrow Table. Fix: pass one of them."
    )


def _from_files(source: Any, types: Mapping[str, str], missing: Sequence[str] = ()) -> Table:
    paths = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    files = tuple(file for path in paths for file in _matches(os.fspath(path)))
    name = f"'{files[0]}'" + (f" and {len(files) - 1} more" if len(files) > 1 else "") if files else "the list of files"
    stems = {Path(file.removesuffix(".gz")).suffix.lower() for file in files}
    if stems and stems <= set(PARQUET):
        require_distinct_names(_parquet_names(files[0]), name)
        scan = parquet_scan(files)
    elif stems and stems <= set(_CSV):
        scan = _csv_scan(files, name, types, missing)
    else:
        raise DataError(
            f"{name} has the ending {sorted(stems)}. Expected files that all end in .csv, .tsv, .txt (or with .gz) or "
            "all in .parquet. Fix: rename or convert them."
        )
    return Table(name, described(Table(name, {}, scan, files)), scan, files)


def _parquet_names(path: str) -> list[str]:
    try:
        return list(pq.read_schema(path).names)
    except (OSError, pa.ArrowException):
        return []  # DuckDB says what is wrong with it


def _matches(path: str) -> list[str]:
    """Return the files a path or glob stands for, sorted."""
    if Path(path).is_file():
        return [path]
    found = sorted(file for file in glob.glob(path, recursive=True) if Path(file).is_file())
    if not found:
        what, fix = "does not exist", "check the path"
        if Path(path).is_dir():
            what, fix = "is a folder", f"name its files, '{path.rstrip('/')}/*.parquet'"
        raise DataError(f"'{path}' {what}. Expected a file, or a glob that matches some. Fix: {fix}.")
    return found


def _csv_scan(files: tuple[str, ...], name: str, types: Mapping[str, str], missing: Sequence[str]) -> str:
    """Return SQL that reads CSV files with types fixed once, so that two scans never disagree."""
    delimiter = delimiter_of(files[0])
    require_csv(files, delimiter)
    options = f"header = true, delim = {text_literal(delimiter)}, sample_size = {_SNIFFED_ROWS}"
    options += f", max_line_size = {LONGEST_LINE}, nullstr = {listed(('', *missing))}"
    source = f"{listed(files)}, {options}"
    guessed = described(Table(name, {}, f"SELECT * FROM read_csv({source})", files))
    if unknown := sorted(set(types) - set(guessed)):
        raise DataError(
            f"types names the column {unknown[0]!r}, which {name} has not. Expected some of {sorted(guessed)}. "
            "Fix: correct the name."
        )
    kept_as_text = dict.fromkeys(_zero_padded(Table(name, guessed, "", files), source), "VARCHAR")
    fixed = {**guessed, **kept_as_text, **types}
    struct = ", ".join(f"{text_literal(column)}: {text_literal(type_)}" for column, type_ in fixed.items())
    return f"SELECT * FROM read_csv({source}, types = {{{struct}}})"


def _zero_padded(table: Table, source: str) -> list[str]:
    """Return the integer columns whose first rows hold text like '00123', which a number would destroy."""
    integers = [column for column, type_ in table.columns.items() if type_ in {"BIGINT", "INTEGER"}]
    if not integers:
        return []
    tests = ", ".join(f"bool_or(regexp_matches({quote(column)}, '^0[0-9]'))" for column in integers)
    text = f"SELECT * FROM read_csv({source}, all_varchar = true) LIMIT {_SNIFFED_ROWS}"
    found = Table(table.name, {}, text, table.files).sql(f"SELECT {tests} FROM rows")[0]
    return [column for column, padded in zip(integers, found, strict=True) if padded]
