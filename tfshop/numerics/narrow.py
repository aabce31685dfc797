"""How few int8 numbers are too few to tell candidates apart."""

from __future__ import annotations

# A tower 400-400-400 behind kernels of rank 1, 2, 4 and 8: 3.9e-3, 7.0e-4, 5.1e-5 and 8.4e-6 of the (positive,
# negative) pairs tie in int8, 4e-8 in float. An audit allows about 2e-5.
FEW_NUMBERS = 8


def is_few(count: int | None) -> bool:
    """Whether a score that depends on so many int8 numbers has too few levels.

    Args:
        count: Numbers a row; None where nobody knows.

    Example:
        >>> is_few(4), is_few(16)
        (True, False)
    """
    return count is not None and count < FEW_NUMBERS
