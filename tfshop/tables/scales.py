"""Steps of integer codes: how large for which rows, and how they are stored in a byte."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CHOICES = ("max", "least squares", "weighted")
CHUNK = 65_536
MOST_LEVELS = 256
FEWEST_LEVELS = 16
MANY_BITS = 8
ROWS_A_LEVEL = 8  # so that levels cost at most half a byte a row
SMALLEST = 2.0**-20  # of the largest step: what is smaller is zero beside it
COARSE = np.geomspace(0.03, 1.15, 28)
FINE = np.geomspace(0.9, 1.1, 7)
COARSE_OF_ROWS = np.linspace(0.4, 1.12, 13)  # few numbers have no long tails
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """Evenly spaced levels around zero.

    Attributes:
        bits: Of a code.
        offset: The code that stands for zero: between two codes ("mid-rise"), so that all levels are used alike, or a
            code of its own ("mid-tread"), so that zero stays zero.
    """

    bits: int
    offset: float

    @property
    def top(self) -> float:
        """Largest level on both sides, in steps."""
        return float(min(self.offset, 2**self.bits - 1 - self.offset))

    def codes(self, rows: NDArray[np.float32], steps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Nearest code of each number; `steps` broadcasts over `rows`."""
        zero = steps == 0
        scaled = rows / np.where(zero, np.float32(1), steps)
        codes = np.rint(np.where(zero, np.float32(0), scaled) + np.float32(self.offset))
        return np.asarray(np.clip(codes, 0, 2**self.bits - 1, out=codes))

    def values(self, codes: NDArray[np.float32], steps: NDArray[np.float32]) -> NDArray[np.float32]:
        """What codes stand for."""
        return np.asarray((codes - np.float32(self.offset)) * steps)


def grids(bits: int) -> dict[str, Grid]:
    """The grids of so many bits: two, of a single bit the one with a level on either side."""
    found = {"mid-rise": Grid(bits, (2**bits - 1) / 2), "mid-tread": Grid(bits, float(2 ** (bits - 1) - 1))}
    return {kind: grid for kind, grid in found.items() if grid.top}


@dataclass(frozen=True, eq=False)
class Groups:
    """Rows of which so many, one after the other, share a step.

    Attributes:
        rows: float32 (num_rows, dimension).
        size: Rows a group; the last group may have fewer.
        weights: What each row's error counts; None for all alike.
    """

    rows: NDArray[np.float32]
    size: int
    weights: Floats | None = None

    def part(self, rows: slice) -> Groups:
        """Some of the rows as one group."""
        weights = None if self.weights is None else self.weights[rows]
        return Groups(self.rows[rows], max(1, rows.stop - rows.start), weights)

    @property
    def count(self) -> int:
        """How many groups."""
        return -(-len(self.rows) // self.size)

    def runs(self) -> Iterator[tuple[slice, Groups]]:
        """Groups a few at a time, so that memory stays small: which ones, and the rows of them."""
        a_run = max(1, CHUNK // self.size)
        for first in range(0, self.count, a_run):
            last = min(first + a_run, self.count)
            rows = slice(first * self.size, last * self.size)
            weights = None if self.weights is None else self.weights[rows]
            yield slice(first, last), Groups(self.rows[rows], self.size, weights)

    def sample(self, most: int) -> Groups:
        """Some of the groups where there are many rows, or some of the rows where there is one group."""
        skip = len(self.rows) // most
        if skip < 2:  # noqa: PLR2004
            return self
        whole = self.size >= len(self.rows)
        blocks = np.arange(0, len(self.rows) if whole else self.count - 1, skip)
        ids = blocks if whole else (blocks[:, None] * self.size + np.arange(self.size)).ravel()
        weights = None if self.weights is None else self.weights[ids]
        return Groups(self.rows[ids], len(ids) if whole else self.size, weights)

    def largest(self) -> Floats:
        """Largest absolute value of each group."""
        rows = np.concatenate([np.abs(self.rows[i : i + CHUNK]).max(axis=1) for i in range(0, len(self.rows), CHUNK)])
        return np.maximum.reduceat(rows, np.arange(0, len(rows), self.size)).astype(np.float64)

    def errors(self, grid: Grid, steps: Floats) -> Floats:
        """Squared error of each group, rows by their weight."""
        total = np.zeros(self.count)
        for start in range(0, len(self.rows), CHUNK):
            rows = self.rows[start : start + CHUNK]
            group = np.arange(start, start + len(rows)) // self.size
            own = steps[group].astype(np.float32)[:, None]
            error = np.square(grid.values(grid.codes(rows, own), own) - rows).sum(axis=1, dtype=np.float64)
            if self.weights is not None:
                error *= self.weights[start : start + CHUNK]
            total[group[0] : group[-1] + 1] += np.bincount(group - group[0], weights=error)
        return total


def steps_of(groups: Groups, grid: Grid, choice: str) -> Floats:
    """A step for each group.

    Args:
        groups: Rows; their weights are read by "weighted" alone.
        grid: Of the codes.
        choice: "max": nothing is cut off. "least squares": the smallest squared error, which cuts off a few large
            numbers. "weighted": the same, rows counting by their weights.
    """
    found = np.empty(groups.count)
    for which, run in groups.runs():
        asked = run if choice == "weighted" else Groups(run.rows, run.size)
        largest = run.largest() / grid.top
        found[which] = largest if choice == "max" else _searched(asked, grid, largest)
    return found


def _searched(groups: Groups, grid: Grid, largest: Floats) -> Floats:
    """The best share of the largest step: first roughly, then finely."""
    best = largest
    rough = COARSE_OF_ROWS if groups.size == 1 else COARSE
    # Where levels abound and few numbers share a step, the largest of them sets it.
    for factors in (FINE,) if grid.bits == MANY_BITS and groups.size == 1 else (rough, FINE):
        start, least = best, groups.errors(grid, best)
        for factor in factors:
            error = groups.errors(grid, start * factor)
            best = np.where(error < least, start * factor, best)
            least = np.minimum(error, least)
    return best


def num_levels(count: int) -> int:
    """How many steps are told apart where `count` groups have one each."""
    return min(count, max(FEWEST_LEVELS, min(MOST_LEVELS, count // ROWS_A_LEVEL)))


def in_a_byte(groups: Groups, grid: Grid, steps: Floats, choice: str) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Steps as bytes that point into a table of levels, a constant ratio apart.

    A table, because an exponential is not the same to the last bit on every machine.

    Args:
        groups: Rows.
        grid: Of the codes.
        steps: One a group.
        choice: How the steps were chosen. Of the two nearest levels that of the smaller error is taken, for "max" the
            larger one.

    Returns:
        uint8 (groups,), float32 (num_levels,).
    """
    levels = levels_of(steps, num_levels(groups.count))
    above = np.clip(np.searchsorted(levels, steps.astype(np.float32)), 0, len(levels) - 1)
    if choice == "max":
        return above.astype(np.uint8), levels
    below = np.maximum(above - 1, 0)
    indices = np.empty(groups.count, dtype=np.uint8)
    for which, run in groups.runs():
        asked = run if choice == "weighted" else Groups(run.rows, run.size)
        lower, upper = (asked.errors(grid, levels[side[which]].astype(np.float64)) for side in (below, above))
        indices[which] = np.where(lower < upper, below[which], above[which])
    return indices, levels


def levels_of(steps: Floats, number: int) -> NDArray[np.float32]:
    """So many levels a constant ratio apart, or the steps themselves where there are no more; ascending."""
    distinct = np.unique(steps.astype(np.float32))
    if len(distinct) <= number:
        return np.pad(distinct, (0, number - len(distinct)), mode="edge")
    top = float(distinct[-1])
    bottom = max(float(distinct[distinct > 0][0]), top * SMALLEST)
    zeros = int(distinct[0] == 0 and number > 1)  # rows of zeros stay zeros
    levels = np.geomspace(bottom, top, number - zeros).astype(np.float32)
    levels[-1] = distinct[-1]
    return np.concatenate([np.zeros(zeros, dtype=np.float32), levels])
