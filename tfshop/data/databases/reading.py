"""A query read to its last row: in one stream, or by key in chunks that a broken connection does not undo."""

# ruff: noqa: S608  (what stands in the SQL is the user's own query and quoted names; values are bound)
from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from tfshop._console import progress, say
from tfshop.data.databases.address import PASSWORD_VARIABLE, Address
from tfshop.data.databases.columns import joined, to_arrays
from tfshop.data.databases.spill import KEY_TYPES, Spill, open_spill
from tfshop.errors import DataError

if TYPE_CHECKING:
    from sqlalchemy import Connection

_ROWS_A_FETCH = 10_000
_LAST, _UPPER, _LIMIT = "tfshop_last", "tfshop_upper", "tfshop_limit"
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


def read_database(source: str, read: DatabaseRead, cache: Path | None, default: Path) -> tuple[Spill, str, object]:
    """Return the rows of a query as Parquet files, what to call them, and who owns them.

    Args:
        source: The address.
        read: What is asked.
        cache: The folder that keeps the rows; they are read anew each time where it is None.
        default: The folder under which rows are put in that case.

    Returns:
        The files' folder, filled; the address to show; a value that has to live as long as the files are wanted, None
        where they stay.

    Raises:
        DataError: For an address, query or key that does not do, and for a read that breaks off.
    """
    address = Address.parse(source)
    identity = hashlib.sha256((address.identity + read.identity).encode()).hexdigest()
    folder = default / identity[:24] if cache is None else cache
    with open_spill(folder, identity) as spill:
        if spill.progress.complete and cache is not None:
            say(f"{address.shown}: {spill.progress.num_rows:,} rows from {folder}; remove it to read them anew")
        else:
            _fill(spill, address, read)
        if spill.progress.num_rows == 0:
            spill.discard()
            raise DataError(
                f"{address.shown} gives no rows for the query. Expected at least one row. Fix: check the query."
            )
        if cache is None:
            return spill, address.shown, spill.take_over()
        spill.release()
        return spill, address.shown, None


def _fill(spill: Spill, address: Address, read: DatabaseRead) -> None:
    engine = address.engine()
    with _explained(spill, address, read), engine.connect() as connection:
        _require_parameters(read)
        if read.resume_key is None:
            spill.begin()
            _stream(connection, read, spill, address)
        else:
            _KeyedRead(connection, read, spill).run(address)
        spill.finish()


def _stream(connection: Connection, read: DatabaseRead, spill: Spill, address: Address) -> None:
    """Read the answer to one statement, a part at a time."""
    with progress(f"reading {address.shown}", total=None) as advance:
        for part, _ in _parts(connection, read.text, read.parameters, read):
            spill.add(part)
            advance(part.num_rows)


class _KeyedRead:
    """A read in order of a key, a statement a part, up to the largest key there was at the start."""

    def __init__(self, connection: Connection, read: DatabaseRead, spill: Spill) -> None:
        self._connection, self._read, self._spill = connection, read, spill
        self._name = str(read.resume_key)
        self._key = connection.dialect.identifier_preparer.quote(self._name)
        self._rows = f"(\n{read.text}\n) AS tfshop_rows"  # the line break ends a comment at the query's end

    def run(self, address: Address) -> None:
        """Read on from the last key kept."""
        spill = self._spill
        if spill.progress.complete or spill.upper is None:
            spill.begin(self._upper())
        if spill.upper is None:
            return
        if spill.last is not None:
            kept = f"{spill.progress.num_rows:,} rows kept"
            say(f"{address.shown}: going on after {self._name} = {spill.last}, {kept}")
        start = self._start()
        with progress(f"reading {address.shown}", total=None if start is None else spill.upper - start) as advance:
            while (found := self._next()) is not None:
                part, last = found
                spill.add(part, last)
                advance(part.num_rows if start is None else last - start, note=f"{spill.progress.num_rows:,} rows")
                start = None if start is None else last
                if part.num_rows < self._read.chunk_rows:
                    return

    def _upper(self) -> Any:
        """The largest key, None for no rows; raises where the key cannot carry a resume."""
        columns = list(self._connection.execute(self._statement(f"SELECT * FROM {self._rows} LIMIT 0")).keys())
        if self._name not in columns:
            raise DataError(
                f"resume_key {self._name!r} is no column of the query. Expected one of {columns}. "
                "Fix: select the key too, and write it as the query gives it."
            )
        if self._scalar(f"SELECT 1 FROM {self._rows} WHERE {self._key} IS NULL LIMIT 1") is not None:
            raise DataError(
                f"resume_key {self._name!r} is NULL in some rows, which no key would reach. Expected a value in every "
                f"row. Fix: add WHERE {self._name} IS NOT NULL, or name the primary key."
            )
        # PostgreSQL has no max() of UUIDs, but an order of them.
        upper = self._scalar(f"SELECT {self._key} FROM {self._rows} ORDER BY {self._key} DESC LIMIT 1")
        if upper is not None and type(upper).__name__ not in KEY_TYPES:
            raise DataError(
                f"resume_key {self._name!r} holds {type(upper).__name__} values ({upper!r}). Expected integers, text, "
                "decimals, dates, UUIDs or bytes, which compare exactly. Fix: name the primary key."
            )
        return upper

    def _start(self) -> Any:
        """The integer key before the first row to read, for the progress bar; None for other kinds of keys."""
        if not isinstance(self._spill.upper, int):
            return None
        last = self._spill.last
        return self._scalar(f"SELECT min({self._key}) FROM {self._rows}") - 1 if last is None else last

    def _next(self) -> tuple[pa.Table, Any] | None:
        """The next part and its last key."""
        last = self._spill.last
        since = "" if last is None else f"{self._key} > :{_LAST} AND "
        text = f"SELECT * FROM {self._rows} WHERE {since}{self._key} <= :{_UPPER} ORDER BY {self._key} LIMIT :{_LIMIT}"
        bounds = {_UPPER: self._spill.upper, _LIMIT: self._read.chunk_rows, **({_LAST: last} if since else {})}
        found = list(_parts(self._connection, text, {**self._read.parameters, **bounds}, self._read))
        if not found:
            return None
        self._require_unique(*found[0])
        return found[0]  # there is no second: the limit is the size of a part

    def _require_unique(self, part: pa.Table, last: Any) -> None:
        """Raise where two rows of a part have one key, or rows after it have its last: they would be skipped."""
        distinct = pc.count_distinct(part[self._name]).as_py()
        alone = self._scalar(f"SELECT count(*) FROM {self._rows} WHERE {self._key} = :{_LAST}", {_LAST: last}) == 1
        if distinct == part.num_rows and alone:
            return
        raise DataError(
            f"resume_key {self._name!r} is not unique: {part.num_rows - distinct + (not alone):,} or more rows up to "
            f"{last!r} share a value. Expected a unique column. Fix: name the primary key, or leave resume_key out; "
            "an interrupted read then starts over."
        )

    def _scalar(self, text: str, bounds: Mapping[str, object] | None = None) -> Any:
        return self._connection.execute(self._statement(text, bounds)).scalar()

    def _statement(self, text: str, bounds: Mapping[str, object] | None = None) -> Any:
        return _statement(text, {**self._read.parameters, **(bounds or {})})


def _parts(
    connection: Connection, text: str, parameters: Mapping[str, object], read: DatabaseRead
) -> Iterator[tuple[pa.Table, Any]]:
    """Yield the answer in parts, each with the key of its last row; no more than one part is in memory."""
    streamed = connection.execution_options(stream_results=True, max_row_buffer=_ROWS_A_FETCH)
    with streamed.execute(_statement(text, parameters)) as result:
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


def _mysql_dates(connection: Connection, result: Any) -> set[int]:
    """Positions of columns that the protocol of MySQL calls dates."""
    if connection.dialect.driver != "pymysql":
        return set()
    return {number for number, column in enumerate(result.cursor.description) if column[1] in _MYSQL_DATES}


def _statement(text: str, parameters: Mapping[str, object]) -> Any:
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


def _require_parameters(read: DatabaseRead) -> None:
    wanted, given = _names_of_parameters(read.text), set(read.parameters)
    if wanted != given:
        raise DataError(
            f"the query has the parameters {sorted(wanted)}, and values are given for {sorted(given)}. Expected the "
            "same. Fix: parameters={'name': value} for every :name; a colon that is none is written '\\:'."
        )


def _require_distinct(names: Sequence[str]) -> None:
    lower = [name.lower() for name in names]
    twice = [name for name in names if lower.count(name.lower()) > 1]
    if twice:
        raise DataError(
            f"the query gives the columns {twice}, which are one name but for case. Expected different names. "
            f"Fix: rename one of them, e.g. SELECT … AS {twice[-1]}_2."
        )


@contextmanager
def _explained(spill: Spill, address: Address, read: DatabaseRead) -> Iterator[None]:
    """Turn a driver's error into one that says what is kept and how to go on, and shows no password."""
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415  (an extra)

    try:
        yield
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        reason = address.scrub(f"{type(cause).__name__}: {', '.join(map(str, cause.args))}")
        # The driver's own error is left out of the chain: it shows the statement, and perhaps what is in the address.
        broke_off = spill.progress.num_rows > 0 or getattr(error, "connection_invalidated", False)
        explanation = _explanation(spill, address, read, reason) if broke_off else _refusal(address, reason)
        if read.resume_key is None:
            spill.begin()
        raise DataError(explanation) from None


def _refusal(address: Address, reason: str) -> str:
    return (
        f"{address.shown} cannot be read: {reason}. Expected a database that answers, and a SELECT it understands. "
        f"Fix: check address, user, password ({PASSWORD_VARIABLE}) and query."
    )


def _explanation(spill: Spill, address: Address, read: DatabaseRead, reason: str) -> str:
    rows = spill.progress.num_rows
    if rows == 0:
        return (
            f"{address.shown} broke off after 0 rows, before the first {read.chunk_rows:,} were there: {reason}. "
            "Expected the connection to last. Fix: read again, with a smaller chunk_rows."
        )
    if read.resume_key is None:
        return (
            f"{address.shown} broke off after {rows:,} rows: {reason}. Expected the connection to last. The rows read "
            "are not used: without a key nobody knows which are missing. Fix: read again from the start; or name a "
            "unique column, resume_key='id', and a read that breaks off goes on where it stopped."
        )
    return (
        f"{address.shown} broke off after {rows:,} rows, up to {read.resume_key} = {spill.last}: {reason}. Expected "
        f"the connection to last. The rows are kept in {spill.folder}. Fix: read again with the same address, query, "
        f"parameters and key; it goes on after {read.resume_key} = {spill.last}, and loses and repeats nothing."
    )
