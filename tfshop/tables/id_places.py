"""Ids taken apart by powers of two: which shared rows each of them finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

EXACT = 2**24  # whole numbers up to there are exact in float32
FACTORS = (0, 1, 3, 5)  # of quotients, one a hash


def taken_apart(ids: Any, buckets: int, floor: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Quotients and remainders of ids, all whole numbers in float32 and at most 2**24.

    Args:
        ids: float32.
        buckets: A power of two.
        floor: Of the library that `ids` belong to.
    """
    quotients = floor(ids * (1.0 / buckets))
    return quotients, ids - quotients * float(buckets)


def places_of(
    quotients: Any, remainders: Any, buckets: int, factors: Sequence[int | None], floor: Callable[[Any], Any]
) -> list[Any]:
    """Rows that ids find in each table, all whole numbers in float32.

    Args:
        quotients: Of the ids by `buckets`, float32.
        remainders: Likewise.
        buckets: A power of two.
        factors: One a table: the remainder and so many quotients, modulo buckets; None for the quotient.
        floor: Of the library that the numbers belong to.
    """
    found = []
    for factor in factors:
        if not factor:
            found.append(quotients if factor is None else remainders)
            continue
        mixed = remainders + quotients * float(factor)
        found.append(mixed - floor(mixed * (1.0 / buckets)) * float(buckets))
    return found


def most_rows(buckets: int, factors: Sequence[int | None]) -> int:
    """Rows whose places and all that they are computed by are exact in float32."""
    return buckets * ((EXACT - buckets) // max(factor or 1 for factor in factors))
