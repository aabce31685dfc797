"""Tables of integers: two to eight bits a number, one step for the table, some rows, or a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tfshop.errors import PlanError
from tfshop.tables.codec import ALONE, CodedTable, Counts, Fields, error_weights, require_table
from tfshop.tables.integer_lookup import IntegerLookup, shapes_of
from tfshop.tables.lookup import TableLookup
from tfshop.tables.packing import NUMPY, pack, packed_width, unpack
from tfshop.tables.scales import CHOICES, CHUNK, Grid, Groups, grids, in_a_byte, steps_of

SHARED_BY = ("row", "field", "table")
SAMPLE = 16_384  # rows on which grids are compared


@dataclass(frozen=True)
class IntegerCodec:
    r"""Evenly spaced levels times a step: :math:`w \approx s\,(q - o)`.

    Its classes differ in `bits` alone, and are named after them.

    Args:
        scale: Who shares a step: "row" (one byte a row), "field" (the rows of one feature in a table that several
            share), "table", or a number of rows, one after the other.
        choice: "max", "least squares", or "weighted": squared error, rows counting by how often they were seen.
        grid: "mid-rise" (levels -1.5, -0.5, 0.5, 1.5 for two bits): all levels are used alike, which at few bits gives
            the least error. "mid-tread" (-1, 0, 1, 2): zero is a level, which pays where many numbers are exactly zero.
            None: the one of less error, for each table.

    Raises:
        PlanError: For a value out of range.

    References:
        Max, Quantizing for Minimum Distortion, 1960 (mid-rise grids and steps by squared error).
    """

    name: ClassVar[str]
    bits: ClassVar[int]

    scale: str | int = "row"
    choice: str = "weighted"
    grid: str | None = None

    def __init_subclass__(cls, *, bits: int) -> None:
        cls.name, cls.bits = cls.__name__, bits

    def __post_init__(self) -> None:
        number = isinstance(self.scale, int) and not isinstance(self.scale, bool) and self.scale > 0
        if self.scale not in SHARED_BY and not number:
            raise PlanError(
                f"scale is {self.scale!r}. Expected 'row', 'field', 'table', or how many rows share one. Fix: "
                "scale='row'."
            )
        if self.choice not in CHOICES:
            raise PlanError(f"choice is {self.choice!r}. Expected one of {', '.join(CHOICES)}. Fix: choice='weighted'.")
        known = tuple(grids(self.bits))
        if self.grid not in (None, *known):
            raise PlanError(f"grid is {self.grid!r}. Expected one of {', '.join(known)}, or None. Fix: leave it out.")

    def group_size(self, num_rows: int) -> int:
        """Rows that share a step; that of "field" is one for each feature, whatever rows it has."""
        return {"row": 1, "table": num_rows, "field": num_rows}.get(str(self.scale)) or min(int(self.scale), num_rows)

    def num_bytes(self, num_rows: int, dimension: int, fields: Fields = ALONE) -> int:
        """Packed codes, a byte a step, and the levels that such a byte means; a step a column of ids for "field"."""
        shapes = shapes_of(num_rows, dimension, self.bits, self.group_size(num_rows), self._num_columns(fields))
        return sum(int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in shapes.values())

    def encode(
        self, rows: NDArray[np.float32], counts: Counts = None, *, seed: int = 0, fields: Fields = ALONE
    ) -> CodedTable:
        """Choose grid and steps, then round."""
        require_table(self, rows, counts)
        weights = None if counts is None else error_weights(counts, len(rows))
        groups = Groups(np.asarray(rows, dtype=np.float32), self.group_size(len(rows)), weights)
        kind = self.grid or self._better_grid(groups)
        grid = grids(self.bits)[kind]
        arrays = self._a_step_a_field(groups, grid, fields) if self._num_columns(fields) else self._arrays(groups, grid)
        return CodedTable.of(self, rows, arrays, {"grid": kind, "offset": grid.offset}, fields)

    def _num_columns(self, fields: Fields) -> int:
        """Columns of ids that have a step of their own; 0 where one step or a step a row serves all."""
        return len(fields.columns or ()) if self.scale == "field" else 0

    def _a_step_a_field(self, groups: Groups, grid: Grid, fields: Fields) -> dict[str, NDArray[Any]]:
        parts = [groups.part(rows) for rows in fields.slices(len(groups.rows))]
        steps = np.concatenate([steps_of(part, grid, self.choice) for part in parts]).astype(np.float32)
        codes = np.concatenate(
            [self._packed(part, grid, np.zeros(1, dtype=np.uint8), steps[[i]]) for i, part in enumerate(parts)]
        )
        return {"codes": codes, "scale": fields.by_column(steps)[:, None]}

    def _arrays(self, groups: Groups, grid: Grid) -> dict[str, NDArray[Any]]:
        steps = steps_of(groups, grid, self.choice)
        if groups.count == 1:
            codes = self._packed(groups, grid, np.zeros(1, dtype=np.uint8), steps.astype(np.float32))
            return {"codes": codes, "scale": steps.astype(np.float32)}
        indices, levels = in_a_byte(groups, grid, steps, self.choice)
        codes = self._packed(groups, grid, indices, levels)
        if groups.size > 1:
            return {"codes": codes, "scales": indices, "levels": levels}
        codes[:, -1] = indices  # beside the codes, where the same read finds it
        return {"codes": codes, "levels": levels}

    def _better_grid(self, groups: Groups) -> str:
        sample = groups.sample(SAMPLE)
        errors = {
            kind: float(sample.errors(grid, steps_of(sample, grid, self.choice)).sum())
            for kind, grid in grids(self.bits).items()
        }
        return min(errors, key=lambda kind: errors[kind])

    def _packed(
        self, groups: Groups, grid: Grid, indices: NDArray[np.uint8], levels: NDArray[np.float32]
    ) -> NDArray[np.uint8]:
        """Bytes of all rows, the last of each left open where every row has a step of its own."""
        num_rows, dimension = groups.rows.shape
        width = packed_width(dimension, self.bits)
        own = groups.size == 1 and groups.count > 1
        made = np.zeros((num_rows, width + own), dtype=np.uint8)
        for start in range(0, num_rows, CHUNK):
            rows = groups.rows[start : start + CHUNK]
            group = np.arange(start, start + len(rows)) // groups.size
            codes = grid.codes(rows, levels[indices[group]][:, None])
            made[start : start + CHUNK, :width] = pack(codes.astype(np.uint8), self.bits)
        return made

    def decode(self, coded: CodedTable, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rows by id."""
        codes, steps = self.codes_and_steps(coded, ids)
        return np.asarray(codes * steps, dtype=np.float32)

    def codes_and_steps(
        self, coded: CodedTable, ids: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Codes around zero (len(ids), dimension), and what each row of them is multiplied by."""
        arrays, size = coded.arrays, self.group_size(coded.num_rows)
        record = arrays["codes"][ids]
        if self._num_columns(coded.fields):
            steps = coded.fields.by_field(arrays["scale"])[coded.fields.of_rows(ids)]
        elif "scale" in arrays:
            steps = arrays["scale"]
        else:
            indices = arrays["scales"][ids // size] if "scales" in arrays else record[:, -1]
            steps = arrays["levels"][indices][:, None]
        width = packed_width(coded.dimension, self.bits)
        codes = unpack(record[:, :width].astype(np.float32), coded.dimension, self.bits, NUMPY)
        return codes - np.float32(coded.settings["offset"]), steps

    def layer(self, coded: CodedTable, **settings: Any) -> TableLookup:
        """The lookup."""
        own = self._num_columns(coded.fields)
        made = IntegerLookup(
            coded.num_rows,
            coded.dimension,
            bits=self.bits,
            group_size=self.group_size(coded.num_rows),
            offset=coded.settings["offset"],
            starts=coded.fields.starts if own else (),
            columns=coded.fields.columns if own else None,
            **settings,
        )
        return made.filled(coded.arrays)


@dataclass(frozen=True)
class Int8(IntegerCodec, bits=8):
    """Eight bits a number, see `IntegerCodec`.

    Example:
        >>> Int8(scale="table").num_bytes(100, 16)
        1604
    """


@dataclass(frozen=True)
class Int4(IntegerCodec, bits=4):
    """Four bits a number, two to the byte, see `IntegerCodec`.

    Example:
        >>> Int4().num_bytes(10_000, 16)
        91024
    """


@dataclass(frozen=True)
class Int3(IntegerCodec, bits=3):
    """Three bits a number in two planes, see `IntegerCodec`.

    Example:
        >>> Int3().num_bytes(10_000, 16)
        71024
    """


@dataclass(frozen=True)
class Int2(IntegerCodec, bits=2):
    """Two bits a number, four to the byte, see `IntegerCodec`.

    Example:
        >>> Int2().num_bytes(10_000, 16)
        51024
    """


@dataclass(frozen=True)
class Int1(IntegerCodec, bits=1):
    """One bit a number: on which side of zero it lies, eight to the byte; see `IntegerCodec`. Wants `TuneTables`.

    Example:
        >>> Int1("field").num_bytes(10_000, 16)
        20004
    """
