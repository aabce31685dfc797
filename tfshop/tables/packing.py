"""Codes of a few bits in bytes, and back again in float arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PLANES = {1: (1,), 2: (2,), 3: (2, 1), 4: (4,), 8: (8,)}  # three bits: two in one plane, the lowest in another
BYTE = 8


@dataclass(frozen=True)
class Arithmetic:
    """What decoding needs of a library of arrays: numpy decodes as the graph does, rounding for rounding.

    Attributes:
        floor: Largest whole number at most a float.
        join: Takes a list of arrays, joins them along the last axis.
    """

    floor: Callable[[Any], Any]
    join: Callable[[list[Any]], Any]


NUMPY = Arithmetic(np.floor, lambda parts: np.concatenate(parts, axis=-1))


def packed_width(dimension: int, bits: int) -> int:
    """Bytes that hold a row of so many codes."""
    return sum(plane_widths(dimension, bits))


def plane_widths(dimension: int, bits: int) -> tuple[int, ...]:
    """Bytes of a row in each plane."""
    return tuple(-(-dimension * plane // BYTE) for plane in PLANES[bits])


def pack(codes: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Codes (rows, dimension) below 2**bits as bytes (rows, packed_width).

    The first half of a row stands in the high bits and the second in the low ones: what is unpacked is put one behind
    the other, never interleaved, for which there is no cheap operator.

    Example:
        >>> pack(np.array([[1, 2, 3, 4]], dtype=np.uint8), 4).tolist()
        [[19, 36]]
    """
    planes, shift = [], bits
    for plane in PLANES[bits]:
        shift -= plane
        planes.append(_packed_plane((codes >> shift) & (2**plane - 1), plane))
    return np.concatenate(planes, axis=1)


def unpack(record: Any, dimension: int, bits: int, arithmetic: Arithmetic) -> Any:
    """Inverse of `pack` on whole numbers in float32.

    Args:
        record: float32 (…, packed_width), the bytes.
        dimension: Codes of a row.
        bits: Of a code.
        arithmetic: Of the library that `record` belongs to.

    Returns:
        float32 (…, dimension), whole numbers.
    """
    total, start = None, 0
    for plane, width in zip(PLANES[bits], plane_widths(dimension, bits), strict=True):
        whole = start == 0 and len(PLANES[bits]) == 1
        part = record if whole else record[..., start : start + width]
        digits = _unpacked_plane(part, dimension, plane, arithmetic)
        total = digits if total is None else total * float(2**plane) + digits
        start += width
    return total


def _packed_plane(codes: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    a_byte = BYTE // bits
    missing = -codes.shape[1] % a_byte
    packed: NDArray[np.uint8] = np.pad(codes, ((0, 0), (0, missing)))
    while bits < BYTE:
        half = packed.shape[1] // 2
        packed = ((packed[:, :half] << bits) | packed[:, half:]).astype(np.uint8)
        bits *= 2
    return packed


def _unpacked_plane(values: Any, dimension: int, bits: int, arithmetic: Arithmetic) -> Any:
    """The digits of bytes (…, width): halves are cut in halves; pieces of a single byte are all cut off at once.

    Each number is moved down by a power of two, so that nothing is rounded.
    """
    held = BYTE
    if values.shape[-1] == 1 and bits < BYTE // 2:
        held = bits
        moved = arithmetic.floor(values * np.exp2(-_shifts(bits)).astype(np.float32))
        values = moved - arithmetic.floor(moved * (1.0 / 2**bits)) * float(2**bits)
    while held > bits:
        held //= 2
        high = arithmetic.floor(values * (1.0 / 2**held))
        values = arithmetic.join([high, values - high * float(2**held)])
    return values if values.shape[-1] == dimension else values[..., :dimension]


def _shifts(bits: int) -> NDArray[np.float64]:
    """How far each piece of a byte lies above its lowest bit, in the order in which `pack` halves a row."""
    shifts, held = np.zeros(1), BYTE
    while held > bits:
        held //= 2
        shifts = np.concatenate([shifts + held, shifts])
    return shifts
