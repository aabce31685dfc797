"""Weights of any size, read and written without a second copy of a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import tf

BLOCK_BYTES = 64 * 2**20

Array = NDArray[Any]


def read_blocks(variable: Any) -> Iterator[Array]:
    """Yield the values of a variable, a run of rows at a time; what is small comes in one piece.

    A table that has been scattered into is copied whole when it is read whole.
    """
    if is_averaged(variable):
        yield np.asarray(variable.numpy())
        return
    first = _copies(variable)[0]
    for start, stop in _ranges(first):
        rows = first if stop - start == _length(first) else tf.gather(first, tf.range(start, stop))
        yield np.asarray(rows.numpy())


def copy_into(array: Array, variable: Any) -> None:
    """Overwrite an array with a variable's values."""
    start = 0
    for block in read_blocks(variable):
        if block.shape == array.shape:
            array[...] = block
            return
        array[start : start + len(block)] = block
        start += len(block)


def write(variable: Any, array: Array) -> None:
    """Overwrite a variable, on every device that holds a copy of it."""
    first = _copies(variable)[0]
    write_blocks(variable, (array[start:stop] if array.ndim else array for start, stop in _ranges(first)))


def write_blocks(variable: Any, blocks: Iterable[Array]) -> None:
    """Overwrite a variable with runs of rows, as `read_blocks` yields them."""
    start = 0
    for block in blocks:
        for copy in _copies(variable):
            if block.shape == tuple(copy.shape):
                copy.assign(block)
            else:  # assigning a whole table would need another one beside it
                copy.scatter_update(tf.IndexedSlices(tf.constant(block), tf.range(start, start + len(block))))
        start += len(block) if block.ndim else 0


def is_averaged(variable: Any) -> bool:
    """Whether workers hold different values, so that reading it takes all of them (moving statistics do)."""
    return hasattr(variable, "values") and variable.synchronization == tf.VariableSynchronization.ON_READ


class Snapshot:
    """A copy of weights in memory, taken again into the same arrays."""

    def __init__(self) -> None:
        self._arrays: list[Array] = []

    def take(self, variables: Iterable[Any]) -> None:
        """Remember the values of now."""
        listed = list(variables)
        if not self._arrays:
            self._arrays = [np.empty(tuple(v.shape), v.dtype.as_numpy_dtype) for v in listed]
        for array, variable in zip(self._arrays, listed, strict=True):
            copy_into(array, variable)

    def put_back(self, variables: Iterable[Any]) -> None:
        """Give variables the values of then."""
        for array, variable in zip(self._arrays, variables, strict=True):
            write(variable, array)


def _copies(variable: Any) -> tuple[Any, ...]:
    """The copies of a distributed variable on this worker; an ordinary one is its own."""
    return tuple(getattr(variable, "values", (variable,)))


def _length(variable: Any) -> int:
    return int(variable.shape[0]) if variable.shape.rank else 1


def _ranges(variable: Any) -> Iterator[tuple[int, int]]:
    """Runs of rows of about `BLOCK_BYTES`."""
    length = _length(variable)
    total = variable.shape.num_elements() * variable.dtype.size
    rows = max(1, length if total <= BLOCK_BYTES else BLOCK_BYTES * length // total)
    for start in range(0, length, rows):
        yield start, min(start + rows, length)
