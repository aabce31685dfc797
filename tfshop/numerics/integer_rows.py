"""Rows of small whole numbers with a scale each, in the bytes that LiteRT looks rows up in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BYTE = 8


@dataclass(frozen=True, eq=False)
class IntegerRows:
    """A table for EMBEDDING_LOOKUP: signed numbers, every row times its scale.

    Attributes:
        bits: Of a number: 8, 4 or 2.
        codes: uint8 (num_rows, bytes), see `packed_in_order`.
        scales: (num_rows,), float32 beside eight bits and float16 beside fewer.
    """

    bits: int
    codes: NDArray[np.uint8]
    scales: NDArray[np.floating[Any]]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, and numbers a row, those included that fill its last byte."""
        return len(self.codes), self.codes.shape[1] * BYTE // self.bits


def bytes_in_order(dimension: int, bits: int) -> int:
    """Bytes that hold a row of so many numbers: every row starts with a byte of its own."""
    return -(-dimension * bits // BYTE)


def packed_in_order(numbers: NDArray[np.int8], bits: int) -> NDArray[np.uint8]:
    """Signed numbers (num_rows, dimension) as bytes (num_rows, bytes_in_order), the first in the lowest bits.

    Example:
        >>> packed_in_order(np.array([[1, -1, 7]], dtype=np.int8), 4).tolist()
        [[241, 7]]
    """
    a_byte = BYTE // bits
    whole = np.pad(numbers.view(np.uint8) & (2**bits - 1), ((0, 0), (0, -numbers.shape[1] % a_byte)))
    packed = np.zeros((len(whole), whole.shape[1] // a_byte), dtype=np.uint8)
    for place in range(a_byte):
        packed |= whole[:, place::a_byte] << np.uint8(place * bits)
    return packed


def unpacked_in_order(packed: NDArray[np.uint8], dimension: int, bits: int) -> NDArray[np.int8]:
    """Inverse of `packed_in_order`."""
    shifts = np.arange(0, BYTE, bits, dtype=np.uint8)
    highest_first = (packed[:, :, None] >> shifts << np.uint8(BYTE - bits)).reshape(len(packed), -1)
    return np.asarray(highest_first[:, :dimension].view(np.int8) >> np.int8(BYTE - bits))
