"""Numbers as people read them: sizes in kB and MB, times in us and ms, differences with their sign."""

from __future__ import annotations

from tfshop.evaluation import AucDifference

BYTE_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))
TIME_UNITS = ((1e6, "s"), (1e3, "ms"), (1.0, "us"))


def size_text(size_bytes: float) -> str:
    """A size with three figures; 1 kB is 1,000 bytes.

    Example:
        >>> size_text(740_000), size_text(3_912_345), size_text(0)
        ('740 kB', '3.91 MB', '0 B')
    """
    return _scaled(size_bytes, BYTE_UNITS)


def time_text(microseconds: float) -> str:
    """A time with three figures.

    Example:
        >>> time_text(7.2), time_text(1530)
        ('7.20 us', '1.53 ms')
    """
    return _scaled(microseconds, TIME_UNITS)


def size_tick(size_bytes: float) -> str:
    """A round size on an axis, without zeros that say nothing.

    Example:
        >>> size_tick(5_000_000), size_tick(1500)
        ('5 MB', '1.5 kB')
    """
    return _round(size_bytes, BYTE_UNITS)


def time_tick(microseconds: float) -> str:
    """A round time on an axis.

    Example:
        >>> time_tick(30), time_tick(1000)
        ('30 us', '1 ms')
    """
    return _round(microseconds, TIME_UNITS)


def times_text(ratio: float) -> str:
    """A ratio: `3.9x`, `12x`.

    Example:
        >>> times_text(3.91), times_text(12.3)
        ('3.9x', '12x')
    """
    return f"{ratio:.1f}x" if ratio < 10 else f"{ratio:.0f}x"  # noqa: PLR2004 - two figures either way


def difference_text(difference: AucDifference | None) -> str:
    """An AUC difference with its interval; a dash for the baseline, which has none.

    Example:
        >>> difference_text(AucDifference(-0.0002, -0.0004, 0.0, 0.0001, 0.05))
        '-0.0002 [-0.0004, +0.0000]'
    """
    if difference is None:
        return "-"
    return f"{difference.difference:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"


def _round(value: float, units: tuple[tuple[float, str], ...]) -> str:
    scale, unit = next((pair for pair in units if value >= 0.9995 * pair[0]), units[-1])
    return f"{value / scale:.4g} {unit}"


def _scaled(value: float, units: tuple[tuple[float, str], ...]) -> str:
    """The value in the largest unit it reaches, with three figures."""
    # 999.6 would print as 1000 of the smaller unit.
    scale, unit = next((pair for pair in units if value >= 0.9995 * pair[0]), units[-1])
    scaled = value / scale
    if scale == 1.0 and float(value).is_integer():
        return f"{scaled:.0f} {unit}"
    decimals = next(digits for limit, digits in ((9.995, 2), (99.95, 1), (float("inf"), 0)) if scaled < limit)
    return f"{scaled:.{decimals}f} {unit}"
