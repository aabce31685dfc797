"""Tables: rows and columns somewhere, read lazily through DuckDB."""

# ruff: noqa: S608  (names and texts in the SQL are quoted, by `quote` and `text_literal`)
from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from tfshop.data.columns import quote, text_literal
from tfshop.data.dirty_csv import delimiter_of, explain
from tfshop.data.splits import ROW
from tfshop.errors import DataError

PARQUET = (".parquet", ".pq")
NUMBERED = "numbered_rows"


def connect_quietly() -> duckdb.DuckDBPyConnection:
    """A new in-memory database that shows no progress bar of its own."""
    connection = duckdb.connect()
    with contextlib.suppress(duckdb.Error):  # in Jupyter without ipywidgets the bar is off and cannot be switched
        connection.execute("SET enable_progress_bar = false")
    return connection


@dataclass(frozen=True, eq=False)
class Table:
    """Rows and columns somewhere, read when asked; made by `tfshop.read_table`.

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
        >>> from tfshop.data import read_table
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
        return bool(self.files) and not self.files[0].endswith(PARQUET)

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
        return replace(self, columns=kept, scan=projected(self.scan, kept))

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
        scan = projected(parquet_scan(files), self.columns)
        return replace(self, files=files, scan=scan, first_row=before[kept[0]], beside=None)

    @property
    def _is_parquet(self) -> bool:
        """Whether the rows are those of Parquet files, each and in their order."""
        whole = parquet_scan(self.files)
        return bool(self.files) and self.scan in {whole, projected(whole, self.columns)}

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
        return f"SELECT {columns}, {number} AS {ROW} FROM read_parquet({listed(self.files)})"

    def _unreadable(self, error: Exception) -> DataError:
        message = " ".join(str(error).split())
        if self.is_text and (explained := explain(message, self.files, delimiter_of(self.files[0]))):
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


def described(table: Table) -> dict[str, str]:
    """Column name to DuckDB type, asked of the scan."""
    return {str(row[0]): str(row[1]) for row in table.sql("DESCRIBE SELECT * FROM rows")}


def listed(files: Sequence[str]) -> str:
    """Texts as a list in SQL."""
    return "[" + ", ".join(text_literal(file) for file in files) + "]"


def parquet_scan(files: Sequence[str]) -> str:
    """SQL that reads Parquet files."""
    return f"SELECT * FROM read_parquet({listed(files)})"


def projected(scan: str, columns: Iterable[str]) -> str:
    """SQL that reads some columns of what another one reads."""
    return f"SELECT {', '.join(map(quote, columns))} FROM ({scan})"
