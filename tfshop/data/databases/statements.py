"""What is asked of a database, as statements with bound values, and their answers in parts."""

# ruff: noqa: S608  (an error shows an example of a query)
from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tfshop.data.databases.columns import joined, to_arrays
from tfshop.errors import DataError

if TYPE_CHECKING:
    from sqlalchemy import Connection

_ROWS_A_FETCH = 10_000
_MYSQL_DATES = {7, 10, 12, 14}  # TIMESTAMP, DATE, DATETIME, NEWDATE in the protocol


@dataclass(frozen=True)
class DatabaseRead:
    """What is asked of a database.

    Args:
        query: A SELECT; `:name` stands for a parameter.
        parameters: Their values, bound by the driver and never put into the text; a list for `IN :name`.
        resume_key: A unique, indexed column of the answer that is never NULL: rows are read in its order.
        chunk_rows: Rows of one part, and of one statement with a key.

    Raises:
        DataError: For an empty query, or a chunk below one row.
    """

    query: str
    parameters: Mapping[str, object] = field(default_factory=dict, repr=False)
    resume_key: str | None = None
    chunk_rows: int = 100_000

    def __post_init__(self) -> None:
        """Check the fields."""
        if not isinstance(self.query, str) or not self.query.strip():
            raise DataError(
                f"the query is {self.query!r}. Expected a SELECT. "
                "Fix: read_table('mysql://…', query='SELECT user_id, item_id, bought FROM exposures')."
            )
        if not isinstance(self.chunk_rows, int) or isinstance(self.chunk_rows, bool) or self.chunk_rows < 1:
            raise DataError(f"chunk_rows is {self.chunk_rows!r}. Expected at least 1. Fix: chunk_rows=100_000.")

    @property
    def text(self) -> str:
        """The query without a semicolon at its end."""
        return self.query.strip().rstrip(";").rstrip()

    @property
    def identity(self) -> str:
        """SHA-256 of all of it but the size of the chunks."""
        bound = sorted((name, type(value).__name__, repr(value)) for name, value in self.parameters.items())
        return hashlib.sha256(json.dumps([self.text, bound, self.resume_key]).encode()).hexdigest()


def require_parameters(read: DatabaseRead) -> None:
    """Raise `DataError` where a `:name` of the query has no value, or a value no `:name`."""
    wanted, given = _names_of_parameters(read.text), set(read.parameters)
    if wanted != given:
        raise DataError(
            f"the query has the parameters {sorted(wanted)}, and values are given for {sorted(given)}. Expected the "
            "same. Fix: parameters={'name': value} for every :name; a colon that is none is written '\\:'."
        )


def parts_of_answer(
    connection: Connection, text: str, parameters: Mapping[str, object], read: DatabaseRead
) -> Iterator[tuple[pa.Table, Any]]:
    """Yield the answer in parts, each with the key of its last row; no more than one part is in memory."""
    streamed = connection.execution_options(stream_results=True, max_row_buffer=_ROWS_A_FETCH)
    with streamed.execute(bound(text, parameters)) as result:
        names = list(result.keys())
        _require_distinct(names)
        dates = _mysql_dates(connection, result)
        position = names.index(read.resume_key) if read.resume_key in names else 0
        batches: list[list[pa.Array]] = []
        num_rows = 0
        while rows := result.fetchmany(min(_ROWS_A_FETCH, read.chunk_rows - num_rows)):
            batches.append(to_arrays(names, rows, dates))
            num_rows += len(rows)
            last = rows[-1][position]
            if num_rows == read.chunk_rows:
                yield joined(names, batches), last
                batches, num_rows = [], 0
        if batches:
            yield joined(names, batches), last


def _require_distinct(names: Sequence[str]) -> None:
    lower = [name.lower() for name in names]
    twice = [name for name in names if lower.count(name.lower()) > 1]
    if twice:
        raise DataError(
            f"the query gives the columns {twice}, which are one name but for case. Expected different names. "
            f"Fix: rename one of them, e.g. SELECT … AS {twice[-1]}_2."
        )


def _mysql_dates(connection: Connection, result: Any) -> set[int]:
    """Positions of columns that the protocol of MySQL calls dates."""
    if connection.dialect.driver != "pymysql":
        return set()
    return {number for number, column in enumerate(result.cursor.description) if column[1] in _MYSQL_DATES}


def bound(text: str, parameters: Mapping[str, object]) -> Any:
    """The text with its values bound; a list stands for `IN :name`."""
    import sqlalchemy  # noqa: PLC0415  (an extra)

    statement = sqlalchemy.text(text)
    wanted = _names_of_parameters(text)
    used = {name: value for name, value in parameters.items() if name in wanted}
    lists = [name for name, value in used.items() if isinstance(value, (list, tuple, set))]
    statement = statement.bindparams(*(sqlalchemy.bindparam(name, expanding=True) for name in lists))
    return statement.bindparams(**{name: list(v) if name in lists else v for name, v in used.items()})  # type: ignore[call-overload]


def _names_of_parameters(text: str) -> set[str]:
    import sqlalchemy  # noqa: PLC0415  (an extra)

    return set(sqlalchemy.text(text).compile().params)
