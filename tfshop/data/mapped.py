"""Arrays in files: written and read through memory maps, without their pages staying in memory."""

from __future__ import annotations

import mmap
import os
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tfshop.errors import DataError

_BYTES_AT_ONCE = 1 << 24


def new_array(path: Path, shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
    """Return an array in a `.npy` file, to be written to; one of the same shape and type that is there is kept.

    The disk space is taken at once: a full disk is an error here, and would kill the process later.

    Raises:
        DataError: Where the disk has too little room.
    """
    if (kept := _opened(path, shape, dtype, "r+")) is not None:
        return kept
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
            except OSError as error:
                needed, free = path.stat().st_size, shutil.disk_usage(path.parent).free
                raise DataError(
                    f"{path} cannot have its {needed / 2**30:.1f} GiB: {error.strerror}, {free / 2**30:.1f} GiB free. "
                    "Expected room for all encoded rows. Fix: free some, or name a folder on a larger disk, cache_dir=…"
                ) from error
    return array


def open_array(path: Path, shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any] | None:
    """Return the array of a `.npy` file, to be read; None unless the file is there and as described."""
    return _opened(path, shape, dtype, "r")


def _opened(path: Path, shape: tuple[int, ...], dtype: str, mode: Any) -> npt.NDArray[Any] | None:
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode=mode)
    except (OSError, ValueError, EOFError):
        return None
    return array if array.shape == shape and array.dtype == np.dtype(dtype) else None


def map_of(array: npt.NDArray[Any]) -> mmap.mmap | None:
    """Return the memory map behind an array or a slice of one; None where it lies in memory."""
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None


def release(*arrays: npt.NDArray[Any]) -> None:
    """Give the pages of mapped arrays back, which would count as memory of this process; written ones are kept.

    They stay in the system's file cache as long as nobody else needs the memory. Does nothing for other arrays.
    """
    for array in arrays:
        mapping = map_of(array)
        if mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapping.madvise(mmap.MADV_DONTNEED)


def checksum(array: npt.NDArray[Any]) -> int:
    """Return the CRC-32 of an array's bytes, to tell whether a file was damaged."""
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    found = 0
    for start in range(0, len(flat), _BYTES_AT_ONCE):
        found = zlib.crc32(flat[start : start + _BYTES_AT_ONCE].data, found)
    return found
