"""Tables: files, data frames and Arrow tables, read lazily through DuckDB."""

# ruff: noqa: S608  (names and texts in the SQL are quoted, by `quote` and `text_literal`)
from __future__ import annotations

import contextlib
import glob
import gzip
import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from tfshop._folders import cache_folder
from tfshop.data.columns import quote, text_literal
from tfshop.data.databases import DatabaseRead, is_address, read_database
from tfshop.data.dirty_csv import LONGEST_LINE, explain, require_csv, require_distinct_names
from tfshop.data.splits import ROW
from tfshop.errors import DataError

_CSV = (".csv", ".tsv", ".txt")
_PARQUET = (".parquet", ".pq")
_SNIFFED_ROWS = 200_000
NUMBERED = "numbered_rows"


def connect_quietly() -> duckdb.DuckDBPyConnection:
    """A new in-memory database that shows no progress bar of its own."""
    connection = duckdb.connect()
    with contextlib.suppress(duckdb.Error):  # in Jupyter without ipywidgets the bar is off and cannot be switched
        connection.execute("SET enable_progress_bar = false")
    return connection


@dataclass(frozen=True, eq=False)
class Table:
    """Rows and columns somewhere, read when asked; made by `read_table`.

    Args:
        name: What it is called in messages.
        columns: Column name to DuckDB type.
        scan: SQL that reads it.
        files: The files behind it, empty for a frame in memory.
        memory: The Arrow table behind it, None for files.
        beside: Further columns of the same rows, found in `numbered_rows` only.
        first_row: The number of the first row, where the table is a piece of a longer one.
        settings: DuckDB settings of every connection, such as its memory limit.
        owner: What has to live as long as the files are wanted, None where they stay.

    Example:
        >>> import pyarrow as pa
        >>> read_table(pa.table({"item": ["a", "b", "a"]})).sql("SELECT item, count(*) FROM rows GROUP BY 1 ORDER BY 1")
        [('a', 2), ('b', 1)]
    """

    name: str
    columns: Mapping[str, str]
    scan: str
    files: tuple[str, ...] = ()
    memory: pa.Table | None = field(default=None, repr=False)
    beside: pa.Table | None = field(default=None, repr=False, kw_only=True)
    first_row: int = field(default=0, kw_only=True)
    settings: Mapping[str, str] = field(default_factory=dict, repr=False, kw_only=True)
    owner: object = field(default=None, repr=False, kw_only=True)

    @property
    def is_text(self) -> bool:
        """Whether the rows are parsed from text each time they are read."""
        return bool(self.files) and not self.files[0].endswith(_PARQUET)

    @cached_property
    def num_rows(self) -> int:
        """How many rows there are."""
        return int(self.sql("SELECT count(*) FROM rows")[0][0])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the content: of the files' bytes, or of the frame's columns."""
        digest = hashlib.sha256()
        if self.memory is not None:
            with pa.ipc.new_stream(pa.PythonFile(_Hashed(digest), mode="w"), self.memory.schema) as writer:
                writer.write_table(self.memory.combine_chunks())
        for path in self.files:
            with Path(path).open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()

    @cached_property
    def _rows_before(self) -> tuple[int, ...]:
        """How many rows stand before each Parquet file, and after the last, `first_row` included."""
        lengths = [pq.read_metadata(file).num_rows for file in self.files]
        return tuple(itertools.accumulate(lengths, initial=self.first_row))

    def renamed(self, name: str) -> Table:
        """Return the same table under another name in messages."""
        return replace(self, name=name)

    def without(self, *columns: str) -> Table:
        """Return the same table without some of its columns.

        Raises:
            DataError: For a column it does not have.
        """
        unknown = [column for column in columns if column not in self.columns]
        if unknown:
            raise DataError(
                f"{self.name} has no column {unknown[0]!r}. Expected some of {', '.join(self.columns)}. "
                "Fix: name columns of the table."
            )
        kept = {column: kind for column, kind in self.columns.items() if column not in columns}
        if self.memory is not None:
            return replace(self, columns=kept, memory=self.memory.select(list(kept)))
        return replace(self, columns=kept, scan=_projected(self.scan, kept))

    def with_settings(self, settings: Mapping[str, str]) -> Table:
        """Return the same table, read by a DuckDB with these settings."""
        return replace(self, settings={**self.settings, **settings})

    def with_column(self, name: str, values: pa.Array) -> Table:
        """Return the same table with a further column in `numbered_rows`; values in the order of the rows."""
        return replace(self, beside=pa.table({name: values}))

    def piece(self, start: int, stop: int) -> Table:
        """Return a part of the table that holds the rows from `start` to `stop`, under the numbers they have here.

        A frame is cut there; of Parquet files those that hold some of the rows are kept whole.
        """
        if self.memory is not None:
            begin = start - self.first_row
            return replace(self, memory=self.memory.slice(begin, stop - start), first_row=start, beside=None)
        if not self._is_parquet:
            return self
        before = self._rows_before
        kept = [i for i in range(len(self.files)) if before[i] < stop and before[i + 1] > start]
        files = tuple(self.files[i] for i in kept)
        scan = _projected(_parquet_scan(files), self.columns)
        return replace(self, files=files, scan=scan, first_row=before[kept[0]], beside=None)

    @property
    def _is_parquet(self) -> bool:
        """Whether the rows are those of Parquet files, each and in their order."""
        whole = _parquet_scan(self.files)
        return bool(self.files) and self.scan in {whole, _projected(whole, self.columns)}

    def sql(self, query: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return the answer to a query in which the table is called `rows`.

        Raises:
            DataError: Where DuckDB cannot answer it.
        """
        with closing(self.connect()) as connection:
            try:
                return list(connection.execute(query, list(parameters)).fetchall())
            except duckdb.Error as error:
                raise self._unreadable(error) from error

    def batches(
        self, query: str, rows_per_batch: int, relations: Mapping[str, pa.Table] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield the answer to a query in Arrow batches, so that it never lies in memory as a whole.

        Args:
            query: SQL in which the table is called `rows`.
            rows_per_batch: Most rows of a batch.
            relations: Further Arrow tables the query may name.

        Raises:
            DataError: Where DuckDB cannot answer it.
        """
        with closing(self.connect()) as connection:
            for name, relation in (relations or {}).items():
                connection.register(name, relation)
            try:
                yield from connection.sql(query).to_arrow_reader(rows_per_batch)
            except (duckdb.Error, pa.ArrowException) as error:
                raise self._unreadable(error) from error

    def connect(self) -> duckdb.DuckDBPyConnection:
        """Return a new connection in which the table is called `rows`; the caller closes it.

        `numbered_rows` is the same with the number of each row.
        """
        connection = connect_quietly()
        try:
            for name, value in self.settings.items():
                connection.execute(f"SET {name} = {text_literal(value)}")
            if self.memory is not None:
                connection.register("rows", self.memory)
            else:
                connection.execute(f"CREATE VIEW rows AS {self.scan}")
            numbered = self._numbered()
            if self.beside is not None:
                connection.register("beside_rows", self.beside)
                numbered = f"SELECT * FROM ({numbered}) POSITIONAL JOIN beside_rows"
            connection.execute(f"CREATE VIEW {NUMBERED} AS {numbered}")
        except (duckdb.Error, pa.ArrowException) as error:
            connection.close()
            raise self._unreadable(error) from error
        return connection

    def _numbered(self) -> str:
        """Return SQL for the rows with their numbers: Parquet knows them, so that both cores can read at once."""
        if not self._is_parquet or {"file_row_number", "file_index"} & {name.lower() for name in self.columns}:
            return f"SELECT *, row_number() OVER () - 1 + {self.first_row} AS {ROW} FROM rows"
        if len(self.files) == 1:
            number = "file_row_number" + (f" + {self.first_row}" if self.first_row else "")
        else:
            number = f"file_row_number + {list(self._rows_before)}[CAST(file_index AS BIGINT) + 1]"
        columns = ", ".join(map(quote, self.columns)) or "*"
        return f"SELECT {columns}, {number} AS {ROW} FROM read_parquet({_list(self.files)})"

    def _unreadable(self, error: Exception) -> DataError:
        message = " ".join(str(error).split())
        if self.is_text and (explained := explain(message, self.files, _delimiter(self.files[0]))):
            return DataError(f"{self.name} {explained}.")
        reason = message[:300]
        typed = "name the column's type, read_table(..., types={'column': 'VARCHAR'})"
        in_file = typed if self.is_text else "check the file"
        fix = in_file if self.memory is None else "check the types of the columns"
        return DataError(f"{self.name} cannot be read: {reason}. Expected a readable table. Fix: {fix}.")


class _Hashed:
    """A file that only feeds a digest: Arrow writes, nothing is kept."""

    closed = False

    def __init__(self, digest: Any) -> None:
        self._digest = digest

    def write(self, block: bytes) -> int:
        self._digest.update(block)
        return len(block)

    def flush(self) -> None: ...

    def close(self) -> None: ...


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
    return Table(name="the table", columns={**_describe(draft), **empty}, scan="", memory=memory)


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
    if stems and stems <= set(_PARQUET):
        require_distinct_names(_parquet_names(files[0]), name)
        scan = _parquet_scan(files)
    elif stems and stems <= set(_CSV):
        scan = _csv_scan(files, name, types, missing)
    else:
        raise DataError(
            f"{name} has the ending {sorted(stems)}. Expected files that all end in .csv, .tsv, .txt (or with .gz) or "
            "all in .parquet. Fix: rename or convert them."
        )
    return Table(name, _describe(Table(name, {}, scan, files)), scan, files)


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


def _list(files: Sequence[str]) -> str:
    return "[" + ", ".join(text_literal(file) for file in files) + "]"


def _parquet_scan(files: Sequence[str]) -> str:
    return f"SELECT * FROM read_parquet({_list(files)})"


def _projected(scan: str, columns: Iterable[str]) -> str:
    return f"SELECT {', '.join(map(quote, columns))} FROM ({scan})"


def _csv_scan(files: tuple[str, ...], name: str, types: Mapping[str, str], missing: Sequence[str]) -> str:
    """Return SQL that reads CSV files with types fixed once, so that two scans never disagree."""
    delimiter = _delimiter(files[0])
    require_csv(files, delimiter)
    options = f"header = true, delim = {text_literal(delimiter)}, sample_size = {_SNIFFED_ROWS}"
    options += f", max_line_size = {LONGEST_LINE}, nullstr = {_list(('', *missing))}"
    source = f"{_list(files)}, {options}"
    guessed = _describe(Table(name, {}, f"SELECT * FROM read_csv({source})", files))
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


def _delimiter(path: str) -> str:
    """Return what separates the names of the header line; '|' last, because it also joins sequences."""
    try:
        with Path(path).open("rb") as raw, gzip.open(raw) if path.endswith(".gz") else nullcontext(raw) as file:
            header = file.readline().decode(errors="replace")
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error}. Expected a readable file. Fix: check the file.") from error
    return max(",\t;|", key=lambda mark: min(header.count(mark), 1) if mark == "|" else 2 * header.count(mark))


def _describe(table: Table) -> dict[str, str]:
    return {str(row[0]): str(row[1]) for row in table.sql("DESCRIBE SELECT * FROM rows")}
