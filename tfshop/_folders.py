"""Folders that are written beside and put in place in one step: a kill leaves the old one or the new one."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfshop._console import say
from tfshop.errors import TfshopError

if sys.platform != "win32":
    import fcntl

_EXCHANGE = 2  # RENAME_EXCHANGE of Linux: two names swap what they stand for, atomically
_CURRENT_FOLDER = -100  # AT_FDCWD


def cache_folder() -> Path:
    """Return where built data is kept: the environment's TFSHOP_CACHE, else ~/.cache/tfshop."""
    named = os.environ.get("TFSHOP_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "tfshop"


@contextmanager
def locked(path: Path, waiting: str | None) -> Iterator[bool]:
    """Hold the lock of a file while the block runs; whoever is killed gives it back.

    Args:
        path: Made where it is not there, and left.
        waiting: What to say before waiting for another process; None not to wait.

    Yields:
        Whether the lock is held: False where another has it and `waiting` is None.
    """
    with path.open("ab") as file:
        if sys.platform == "win32":  # no flock: whoever writes the same there writes the same bytes
            yield True
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is None:
                yield False
                return
            say(waiting)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield True


def require_replaceable(target: str | os.PathLike[str], marker: str) -> None:
    """Refuse to replace a file, or a folder with things in it but not the file that says we wrote it.

    Args:
        target: Where a folder is to go.
        marker: Name of a file that every folder of its kind holds.

    Raises:
        TfshopError: For either; nothing has been touched then.
    """
    place = Path(target)
    if not place.exists() or (place.is_dir() and ((place / marker).is_file() or not any(place.iterdir()))):
        return
    raise TfshopError(
        f"{place} exists and has no {marker}, so it is not ours to replace. Expected a new or empty folder, or an "
        "earlier one of the same kind. Fix: give another folder, or move what is there away."
    )


@contextmanager
def new_folder(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield an empty folder to fill; it takes the place of `target` when the block ends without an error.

    Args:
        target: Where the folder goes; parents are made, an older folder there is replaced.

    Example:
        >>> with new_folder("out") as folder:  # doctest: +SKIP
        ...     (folder / "model.tflite").write_bytes(content)
    """
    place = Path(target).absolute()
    place.parent.mkdir(parents=True, exist_ok=True)
    workshop = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    fresh = workshop / "new"
    fresh.mkdir()
    try:
        yield fresh
        _flush(fresh)
        _put_in_place(fresh, place)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _flush(folder: Path) -> None:
    """Have the files on disk before their folder gets its name."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _put_in_place(fresh: Path, place: Path) -> None:
    if not place.exists():
        fresh.rename(place)
    elif not _exchange(fresh, place):
        # Without an exchange there is a moment in which the old folder stands under another name.
        old = fresh.with_name("old")
        place.rename(old)
        fresh.rename(place)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one system call; False where the system has none."""
    if not sys.platform.startswith("linux"):
        return False
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    return bool(renameat2(_CURRENT_FOLDER, os.fsencode(one), _CURRENT_FOLDER, os.fsencode(other), _EXCHANGE) == 0)
