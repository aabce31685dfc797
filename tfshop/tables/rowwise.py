"""Tables that LiteRT looks up by one operator: whole numbers, and a scale for every row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tfshop.errors import PlanError
from tfshop.numerics.integer_rows import bytes_in_order, unpacked_in_order
from tfshop.tables.codec import ALONE, CodedTable, Counts, Fields, require_table
from tfshop.tables.embedding_lookup import FLOAT_BITS, EmbeddingLookup, arrays_of, grid_of, scales_of
from tfshop.tables.lookup import TableLookup
from tfshop.tables.scales import CHUNK, Grid, Groups, steps_of

BITS = (8, 4, 2)
CHOICES = ("max", "least squares")
REFINEMENTS = 3
FLOAT16_MAX = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class RowwiseLookup:
    """Whole numbers times the scale of their row, read by EMBEDDING_LOOKUP in one go.

    LiteRT wants twelve bytes a row beside eight bits (a scale in float32 and a zero point of eight bytes, which is
    always 0), and a scale in float16 beside four and two. The exporter puts the operator in when the file is finished.
    Zero is always a level, so that of two bits' levels (-2, -1, 0, 1) less is to be had than of those of `Int2`.

    Measured with LiteRT 2.3, 26 fields of 100,000 rows, dimension 16, one thread: with four bits a candidate alone
    takes 0.8 of the time with `Int4("row")`, but 128 at once take twice as long, for the operator goes from number to
    number. With eight bits it is 1.1, and four times as long, beside `Int8("row")`. It pays where candidates come one
    by one, if at all.

    Args:
        bits: Of a number: 8, 4 or 2. A row starts with a byte of its own.
        choice: "max": no number of a row is cut off; "least squares": the smallest squared error.

    Raises:
        PlanError: At construction for a value out of range; in `encode` for rows whose scales are beyond float16.

    Example:
        >>> RowwiseLookup().num_bytes(100, 64), RowwiseLookup(8).num_bytes(100, 64)
        (3400, 7600)

    References:
        Guan et al., Post-Training 4-bit Quantization on Embedding Tables, 2019 (a scale for every row).
    """

    name: ClassVar[str] = "RowwiseLookup"

    bits: int = 4
    choice: str = "least squares"

    def __post_init__(self) -> None:
        if self.bits not in BITS or isinstance(self.bits, bool):
            raise PlanError(f"bits is {self.bits!r}. Expected 8, 4 or 2. Fix: RowwiseLookup(4).")
        if self.choice not in CHOICES:
            raise PlanError(
                f"choice is {self.choice!r}. Expected one of {', '.join(CHOICES)}. Fix: choice='least squares'."
            )

    def num_bytes(self, num_rows: int, dimension: int, fields: Fields = ALONE) -> int:
        """Packed numbers, and what belongs to a row."""
        a_row = 12 if self.bits == FLOAT_BITS else 2
        return num_rows * (bytes_in_order(dimension, self.bits) + a_row)

    def encode(
        self, rows: NDArray[np.float32], counts: Counts = None, *, seed: int = 0, fields: Fields = ALONE
    ) -> CodedTable:
        """Choose a scale for every row, then round."""
        require_table(self, rows, counts)
        rows = np.asarray(rows, dtype=np.float32)
        steps = steps_of(Groups(rows, 1), grid_of(self.bits), self.choice)
        if self.choice != "max":
            steps = _refined(rows, steps, grid_of(self.bits))
        if self.bits < FLOAT_BITS and steps.max() > FLOAT16_MAX:
            raise PlanError(
                f"RowwiseLookup({self.bits}) was given a table with numbers up to {np.abs(rows).max():.3g}, whose "
                f"scales are beyond float16. Expected scales of at most {FLOAT16_MAX:,.0f}. Fix: RowwiseLookup(8)."
            )
        return CodedTable.of(self, rows, arrays_of(rows, scales_of(steps, self.bits), self.bits), fields=fields)

    def decode(self, coded: CodedTable, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rows by id."""
        numbers = unpacked_in_order(coded.arrays["codes"][ids], coded.dimension, self.bits)
        scales = coded.arrays["scales"][ids]
        steps = scales if self.bits == FLOAT_BITS else scales.view(np.float16).astype(np.float32)
        return np.asarray(numbers.astype(np.float32) * steps)

    def layer(self, coded: CodedTable, **settings: Any) -> TableLookup:
        """The lookup."""
        return EmbeddingLookup(coded.num_rows, coded.dimension, bits=self.bits, **settings).filled(coded.arrays)


def _refined(rows: NDArray[np.float32], steps: NDArray[np.float64], grid: Grid) -> NDArray[np.float64]:
    """Steps that fit the codes, and codes that fit the steps, in turns: the squared error of a row only falls."""
    found = np.array(steps, dtype=np.float64)
    for start in range(0, len(rows), CHUNK):
        part = slice(start, start + CHUNK)
        for _ in range(REFINEMENTS):
            codes = grid.codes(rows[part], found[part, None].astype(np.float32)) - np.float32(grid.offset)
            length = np.square(codes).sum(axis=1, dtype=np.float64)
            fitting = (codes * rows[part]).sum(axis=1, dtype=np.float64) / np.maximum(length, 1)
            found[part] = np.where(length > 0, fitting, found[part])
    return found
