"""A query read by key, in statements that a broken connection does not undo."""

# ruff: noqa: S608  (what stands in the SQL is the user's own query and quoted names; values are bound)
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from tfshop._console import progress, say
from tfshop.data.databases.address import Address
from tfshop.data.databases.spill import KEY_TYPES, Spill
from tfshop.data.databases.statements import DatabaseRead, bound, parts_of_answer
from tfshop.errors import DataError

if TYPE_CHECKING:
    from sqlalchemy import Connection

_LAST, _UPPER, _LIMIT = "tfshop_last", "tfshop_upper", "tfshop_limit"


class KeyedRead:
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
        found = list(parts_of_answer(self._connection, text, {**self._read.parameters, **bounds}, self._read))
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
        return bound(text, {**self._read.parameters, **(bounds or {})})
