"""A query read to its last row: in one stream, or by key in chunks that a broken connection does not undo."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tfshop._console import progress, say
from tfshop.data.databases.address import PASSWORD_VARIABLE, Address
from tfshop.data.databases.keyed import KeyedRead
from tfshop.data.databases.spill import Spill, open_spill
from tfshop.data.databases.statements import DatabaseRead, parts_of_answer, require_parameters
from tfshop.errors import DataError

__all__ = ["DatabaseRead", "read_database"]

if TYPE_CHECKING:
    from sqlalchemy import Connection


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
        require_parameters(read)
        if read.resume_key is None:
            spill.begin()
            _stream(connection, read, spill, address)
        else:
            KeyedRead(connection, read, spill).run(address)
        spill.finish()


def _stream(connection: Connection, read: DatabaseRead, spill: Spill, address: Address) -> None:
    """Read the answer to one statement, a part at a time."""
    with progress(f"reading {address.shown}", total=None) as advance:
        for part, _ in parts_of_answer(connection, read.text, read.parameters, read):
            spill.add(part)
            advance(part.num_rows)


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
