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
from tfshop.tables.scales import Groups, steps_of

BITS = (8, 4, 2)
CHOICES = ("max", "least squares")
FLOAT16_MAX = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class RowwiseLookup:
    """Whole numbers times the scale of their row, read by EMBEDDING_LOOKUP in one go.

    LiteRT keeps twelve bytes a row beside eight bits (a scale in float32 and a zero point of eight bytes, which is
    always 0), and a scale in float16 beside four and two. The exporter puts the operator in when the file is finished.
    Zero is always a level, so that of two bits' levels (-2, -1, 0, 1) less is to be had than of those of `Int2`.

    Args:
        bits: Of a number: 8, 4 or 2. A row starts with a byte of its own.
        choice: "max": no number of a row is cut off; "least squares": the smallest squared error.

    Raises:
        PlanError: At construction for a value out of range; in `encode` for rows whose scales are beyond float16.

    Example:
        >>> RowwiseLookup().num_bytes(100, 64), RowwiseLookup(4).num_bytes(100, 64)
        (7600, 3400)
    """

    name: ClassVar[str] = "RowwiseLookup"

    bits: int = 8
    choice: str = "least squares"

    def __post_init__(self) -> None:
        if self.bits not in BITS or isinstance(self.bits, bool):
            raise PlanError(f"bits is {self.bits!r}. Expected 8, 4 or 2. Fix: RowwiseLookup(8).")
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
        if self.bits < FLOAT_BITS and steps.max() > FLOAT16_MAX:
            raise PlanError(
                f"RowwiseLookup({self.bits}) was given a table with numbers up to {np.abs(rows).max():.3g}, whose "
                f"scales are beyond float16. Expected scales of at most {FLOAT16_MAX:,.0f}. Fix: RowwiseLookup(8)."
            )
        scales = scales_of(steps, self.bits, at_least=self.choice == "max")
        return CodedTable.of(self, rows, arrays_of(rows, scales, self.bits), fields=fields)

    def decode(self, coded: CodedTable, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rows by id."""
        numbers = unpacked_in_order(coded.arrays["codes"][ids], coded.dimension, self.bits)
        scales = coded.arrays["scales"][ids]
        steps = scales if self.bits == FLOAT_BITS else scales.view(np.float16).astype(np.float32)
        return np.asarray(numbers.astype(np.float32) * steps)

    def layer(self, coded: CodedTable, **settings: Any) -> TableLookup:
        """The lookup."""
        return EmbeddingLookup(coded.num_rows, coded.dimension, bits=self.bits, **settings).filled(coded.arrays)
