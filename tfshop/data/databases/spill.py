"""Rows on disk while they are read: Parquet parts written beside and renamed, and a record of how far it went."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import shutil
import uuid
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from tfshop._console import say
from tfshop.data.databases.columns import widest
from tfshop.errors import DataError

try:
    import fcntl
except ImportError:  # no POSIX: two processes at once are then not kept apart
    fcntl = None  # type: ignore[assignment]

RECORD, LOCK = "rows.json", "lock"
_FORMAT = 1


@dataclass(frozen=True)
class Progress:
    """How far a read went.

    Args:
        identity: SHA-256 of address, query, parameters and key: what is read, without saying it.
        parts: Files and their numbers of rows.
        upper: The key up to which it reads, as plain data; None without a key, and before the start.
        last: The key of the last row kept, as plain data.
        complete: Whether every row is there.
    """

    identity: str
    parts: tuple[tuple[str, int], ...] = ()
    upper: Any = None
    last: Any = None
    complete: bool = False

    @property
    def num_rows(self) -> int:
        """Rows kept."""
        return sum(rows for _, rows in self.parts)


class Spill:
    """A folder of parts that one process fills; made by `open_spill`."""

    def __init__(self, folder: Path, progress: Progress, lock: IO[str]) -> None:
        self.folder = folder
        self.progress = progress
        self._lock = lock

    @property
    def files(self) -> tuple[str, ...]:
        """The parts in the order they were read."""
        return tuple(str(self.folder / name) for name, _ in self.progress.parts)

    @property
    def upper(self) -> Any:
        """The key up to which it reads, None before the start."""
        return _from_plain(self.progress.upper)

    @property
    def last(self) -> Any:
        """The key of the last row kept, None before the first."""
        return _from_plain(self.progress.last)

    def begin(self, upper: object = None) -> None:
        """Forget what is there and start over, up to a key where there is one."""
        for path in self.folder.glob("*.parquet*"):
            path.unlink()
        self._record(Progress(self.progress.identity, upper=_to_plain(upper)))

    def add(self, part: pa.Table, last: object = None) -> None:
        """Keep a part; from here on a kill no longer loses it.

        Raises:
            DataError: Where its columns are not those of the parts before.
        """
        if self.progress.parts:
            known = pq.read_schema(self.files[0]).names
            if known != part.column_names:
                raise DataError(
                    f"the query now gives the columns {part.column_names}, and gave {known} before. Expected the same "
                    f"throughout. Fix: remove {self.folder} and read again."
                )
        name = f"part-{len(self.progress.parts):06d}.parquet"
        _write(self.folder / name, part)
        parts = (*self.progress.parts, (name, part.num_rows))
        self._record(Progress(self.progress.identity, parts, self.progress.upper, _to_plain(last)))

    def finish(self) -> None:
        """Bring every part to the same types, and say that all rows are there.

        Raises:
            DataError: Where a column's parts have no type in common.
        """
        schemas = [pq.read_schema(path) for path in self.files]
        if schemas:
            fields = [
                (name, widest(name, [schema.field(name).type for schema in schemas])) for name in schemas[0].names
            ]
            final = pa.schema([(name, pa.string() if pa.types.is_null(type_) else type_) for name, type_ in fields])
            for path, schema in zip(self.files, schemas, strict=True):
                if not schema.equals(final):
                    _write(Path(path), pq.read_table(path).cast(final, safe=False))
        progress = self.progress
        self._record(Progress(progress.identity, progress.parts, progress.upper, progress.last, complete=True))

    def discard(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def release(self) -> None:
        """Let other processes in."""
        self._lock.close()

    def take_over(self) -> object:
        """Make the folder this process's own; it goes when the returned value does, or when the process ends."""
        mine = self.folder.with_name(f"{self.folder.name}-{uuid.uuid4().hex[:12]}")
        self.folder.rename(mine)
        self.folder = mine
        owner = _Owner()
        weakref.finalize(owner, _remove, mine, self._lock)
        return owner

    def _record(self, progress: Progress) -> None:
        content = {
            "format": _FORMAT,
            "identity": progress.identity,
            "parts": [list(part) for part in progress.parts],
            "upper": progress.upper,
            "last": progress.last,
            "complete": progress.complete,
            "written": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        }
        path = self.folder / RECORD
        beside = path.with_suffix(".new")
        with beside.open("w", encoding="utf-8") as file:
            file.write(json.dumps(content, indent=1))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        self.progress = progress


class _Owner:
    """Lives as long as a table whose files go with it."""


def _remove(folder: Path, lock: IO[str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    lock.close()


def _write(path: Path, part: pa.Table) -> None:
    """Write a Parquet file beside its place, have it on disk, and rename it."""
    beside = path.with_name(f"{path.name}.new")
    with beside.open("wb") as file:
        pq.write_table(part, file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


@contextmanager
def open_spill(folder: Path, identity: str) -> Iterator[Spill]:
    """Yield the spill of a folder, this process alone in it; wait where another one reads the same rows.

    Raises:
        DataError: Where the folder holds something else.
    """
    lock = _locked(folder)
    try:
        _sweep(folder)
        yield Spill(folder, _read_record(folder, identity), lock)
    except BaseException:
        lock.close()
        raise


def _locked(folder: Path) -> IO[str]:
    while True:
        _require_ours(folder)
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("a")
        if _try_lock(lock):
            if _is_at(lock, folder / LOCK):
                return lock
        else:
            say(f"another process reads into {folder}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _is_at(lock, folder / LOCK):
                return lock
        lock.close()  # the other process has moved the folder away: start anew


def _require_ours(folder: Path) -> None:
    if folder.exists() and not (folder.is_dir() and ((folder / LOCK).is_file() or not any(folder.iterdir()))):
        raise DataError(
            f"{folder} exists and holds no rows of a database. Expected a new or empty folder, or an earlier one. "
            "Fix: cache='another folder'."
        )


def _try_lock(lock: IO[str]) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_at(lock: IO[str], path: Path) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    return False


def _sweep(folder: Path) -> None:
    """Remove what processes that were killed had taken over."""
    for left in folder.parent.glob(f"{folder.name}-{'?' * 12}"):
        with contextlib.suppress(OSError), (left / LOCK).open("a") as lock:
            if fcntl is not None and _try_lock(lock):
                shutil.rmtree(left, ignore_errors=True)


def _read_record(folder: Path, identity: str) -> Progress:
    path = folder / RECORD
    if not path.is_file():
        return Progress(identity)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        parts = tuple((str(name), int(rows)) for name, rows in content["parts"])
        found = Progress(content["identity"], parts, content["upper"], content["last"], content["complete"])
        known = content["format"] == _FORMAT
    except (ValueError, KeyError, TypeError):
        known = False
    if not known or any(not (folder / name).is_file() for name, _ in parts):
        raise DataError(
            f"{folder} holds rows that are incomplete or of another version. Expected the files {RECORD} names. "
            "Fix: remove the folder and read again."
        )
    if found.identity != identity:
        raise DataError(
            f"{folder} holds the rows of another address, query, parameters or key. Expected the same as now. "
            "Fix: cache='another folder', or remove this one."
        )
    return found


_PLAIN: Mapping[str, Any] = {
    "int": int,
    "str": str,
    "Decimal": Decimal,
    "datetime": datetime.datetime.fromisoformat,
    "date": datetime.date.fromisoformat,
    "UUID": uuid.UUID,
    "bytes": bytes.fromhex,
}
KEY_TYPES: Sequence[str] = tuple(_PLAIN)


def _to_plain(key: object) -> list[str] | None:
    """Return a key as its type's name and text."""
    if key is None:
        return None
    text = key.isoformat() if isinstance(key, datetime.date) else key.hex() if isinstance(key, bytes) else str(key)
    return [type(key).__name__, text]


def _from_plain(content: Sequence[str] | None) -> Any:
    return None if content is None else _PLAIN[content[0]](content[1])
