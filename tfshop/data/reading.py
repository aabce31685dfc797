"""Rows handed out in batches, in order or shuffled, from arrays in memory or in files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tfshop.data.mapped import map_of, release

BUFFER_BYTES = 1 << 27  # of rows that are shuffled together; twice as much is held, as the next ones are read meanwhile
ROWS_PER_BLOCK = 1 << 10  # at most: some ten thousand bytes, which a disk reads about as fast as one
BLOCKS_PER_BUFFER = 256  # at least: a batch is drawn from so many places of the table

Arrays = Sequence[npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Rows:
    """Arrays of as many rows each, read batch by batch.

    Shuffled, rows in memory (or in files, where they all fit the buffer) get one permutation an epoch. Rows in larger
    files are shuffled in two steps: the table is cut into blocks of neighbouring rows, the blocks are permuted, and as
    many as fill a buffer are read and their rows permuted. A batch so mixes rows from hundreds of places all over the
    table, whatever it is sorted by, while the disk reads long pieces.

    References:
        Xu, Qiu, Yuan, Jiang, Renggli, Gan, Kara, Li, Liu, Wu, Ye & Zhang, "In-Database Machine Learning with CorgiPile:
        Stochastic Gradient Descent without Full Data Shuffle", SIGMOD 2022.

    Args:
        arrays: First dimension the rows.
        batch_size: Rows of a batch; the last may have fewer.

    Example:
        >>> [batch.tolist() for (batch,) in Rows([np.arange(5)], 2).in_order()]
        [[0, 1], [2, 3], [4]]
    """

    arrays: Arrays
    batch_size: int

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return len(self.arrays[0])

    @cached_property
    def is_mapped(self) -> bool:
        """Whether some of the rows lie in files."""
        return any(map_of(array) is not None for array in self.arrays)

    @cached_property
    def buffer_rows(self) -> int:
        """Rows that are shuffled together: whole batches."""
        row_bytes = sum(array.dtype.itemsize * int(np.prod(array.shape[1:])) for array in self.arrays)
        return max(BUFFER_BYTES // row_bytes // self.batch_size, 1) * self.batch_size

    def in_order(self, skip: int = 0) -> Iterator[Arrays]:
        """Yield the batches as the rows stand there, without the first `skip`."""
        for start in range(skip * self.batch_size, self.num_rows, self.batch_size):
            yield [array[start : start + self.batch_size] for array in self.arrays]
            if self.is_mapped and start % self.buffer_rows == 0:
                release(*self.arrays)
        release(*self.arrays)

    def shuffled(self, seed: int, epoch: int, skip: int = 0) -> Iterator[Arrays]:
        """Yield the batches of an epoch in the order of its seed, without the first `skip`, which are not read."""
        if not self.is_mapped or self.num_rows <= self.buffer_rows:
            order = np.random.default_rng([seed, epoch]).permutation(self.num_rows)
            for start in range(skip * self.batch_size, self.num_rows, self.batch_size):
                yield [array[order[start : start + self.batch_size]] for array in self.arrays]
            return
        first, skipped = divmod(skip * self.batch_size, self.buffer_rows)
        blocks = _Blocks.drawn(self.num_rows, self.buffer_rows, np.random.default_rng([seed, epoch]))
        numbers = range(first, -(-self.num_rows // self.buffer_rows))
        with ThreadPoolExecutor(1) as pool:
            coming = [pool.submit(self._load, blocks, number) for number in numbers[:1]]
            for number in numbers:
                buffer = coming.pop().result()
                if number + 1 in numbers:
                    coming.append(pool.submit(self._load, blocks, number + 1))
                order = np.random.default_rng([seed, epoch, number]).permutation(len(buffer[0]))
                for start in range(skipped if number == first else 0, len(order), self.batch_size):
                    yield [array[order[start : start + self.batch_size]] for array in buffer]

    def _load(self, blocks: _Blocks, number: int) -> Arrays:
        """Copy the rows of one buffer into memory."""
        start = number * self.buffer_rows
        pieces = blocks.pieces(start, min(start + self.buffer_rows, self.num_rows))
        buffer = [np.concatenate([array[piece] for piece in pieces]) for array in self.arrays]
        release(*self.arrays)
        return buffer


@dataclass(frozen=True, eq=False)
class _Blocks:
    """The rows of a table in an order of blocks.

    Args:
        begins: The first row of each block, in the order of the blocks.
        places: Where each block begins in that order, and behind the last, where it ends.
    """

    begins: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]

    @classmethod
    def drawn(cls, num_rows: int, buffer_rows: int, generator: np.random.Generator) -> _Blocks:
        size = max(min(ROWS_PER_BLOCK, buffer_rows // BLOCKS_PER_BUFFER), 1)
        begins = generator.permutation(-(-num_rows // size)) * size
        lengths = np.minimum(size, num_rows - begins)
        return cls(begins, np.concatenate([[0], np.cumsum(lengths)]))

    def pieces(self, start: int, stop: int) -> list[slice]:
        """Return the rows of the table that stand from `start` to `stop` in the order of blocks, sorted."""
        first, last = np.searchsorted(self.places, [start, stop - 1], side="right") - 1
        chosen = range(int(first), int(last) + 1)
        pieces = []
        for block in chosen:
            offset = int(self.begins[block] - self.places[block])
            begin, end = max(start, int(self.places[block])), min(stop, int(self.places[block + 1]))
            pieces.append(slice(begin + offset, end + offset))
        return sorted(pieces, key=lambda piece: piece.start)
