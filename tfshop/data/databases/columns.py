"""What database drivers hand over, as Arrow columns, and one type for columns whose parts differ."""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from tfshop.errors import DataError

_LARGEST = 2**63
_SMALL_DECIMAL, _LARGE_DECIMAL = 18, 38  # digits that fit 8 and 16 bytes
_WIDE = pa.decimal128(_LARGE_DECIMAL, 0)
_MICROSECONDS = pa.timestamp("us")

Values = Sequence[Any]
_ZERO_DATE = "0000-00-00"


def to_array(name: str, values: Values) -> pa.Array:
    """Return the values of one column, None where missing, as an Arrow array.

    Times of day and intervals become seconds, moments with a zone become UTC, JSON objects text.

    Args:
        name: The column, for messages.
        values: Python values as a driver gives them.

    Raises:
        DataError: For values of kinds that are no one column.

    Example:
        >>> to_array("stock", [1, None, 18446744073709551615]).type
        DataType(uint64)
    """
    kinds = {type(value) for value in values} - {type(None)}
    if not kinds:
        return pa.nulls(len(values))
    for allowed, convert in _CONVERTERS:
        if all(issubclass(kind, allowed) for kind in kinds):
            return convert(name, values)
    raise _mixed(name, values)


def _mixed(name: str, values: Values) -> DataError:
    """The error for a column of several kinds, with the first value of each."""
    first: dict[str, tuple[int, Any]] = {}
    for row, value in enumerate(values):
        if value is not None:
            first.setdefault(type(value).__name__, (row, value))
    found = ", ".join(f"{kind} (e.g. {str(value)[:40]!r})" for kind, (_, value) in first.items())
    return DataError(
        f"column {name!r} of the query holds {found}. Expected one kind of value a column. "
        f"Fix: cast it in the query, e.g. CAST({name} AS CHAR)."
    )


def _integers(name: str, values: Values) -> pa.Array:
    try:
        return pa.array(values, pa.int64())
    except (OverflowError, pa.ArrowInvalid):
        present = [int(value) for value in values if value is not None]
    if min(present) >= 0 and max(present) < 2 * _LARGEST:
        return pa.array(values, pa.uint64())
    if max(map(abs, present)) < 10**_LARGE_DECIMAL:
        return pa.array([None if value is None else Decimal(int(value)) for value in values], _WIDE)
    return _floats(name, values)


def _floats(name: str, values: Values) -> pa.Array:
    return pa.array([None if value is None else float(value) for value in values], pa.float64())


def _decimals(name: str, values: Values) -> pa.Array:
    finite = [None if value is None or not Decimal(value).is_finite() else Decimal(value) for value in values]
    try:
        guessed = pa.array(finite).type
    except pa.ArrowInvalid:
        return _floats(name, values)
    if pa.types.is_null(guessed):
        return pa.array(finite, pa.decimal128(_SMALL_DECIMAL, 0))
    wide = _decimal(guessed.precision - guessed.scale, guessed.scale)
    return pa.array(finite, wide) if pa.types.is_decimal(wide) else _floats(name, finite)


def _decimal(integer_digits: int, scale: int) -> pa.DataType:
    """Return a decimal of 18 or 38 digits, so that parts seldom differ; a float where neither is enough."""
    for digits in (_SMALL_DECIMAL, _LARGE_DECIMAL):
        if integer_digits + scale <= digits:
            return pa.decimal128(digits, scale)
    return pa.float64()


def _texts(name: str, values: Values) -> pa.Array:
    try:
        return pa.array([None if value is None else str(value) for value in values], pa.string())
    except (UnicodeEncodeError, pa.ArrowException) as error:
        raise DataError(
            f"column {name!r} of the query holds text that is not Unicode ({error}). Expected UTF-8. "
            "Fix: convert it in the query, or read the column as bytes."
        ) from None


def _bytes(name: str, values: Values) -> pa.Array:
    return pa.array([None if value is None else bytes(value) for value in values], pa.binary())


def _moments(name: str, values: Values) -> pa.Array:
    return pa.array([None if value is None else _naive(value) for value in values], _MICROSECONDS)


def _naive(value: Any) -> datetime.datetime:
    """A moment in UTC without its zone; a date becomes its midnight."""
    if not isinstance(value, datetime.datetime):
        return datetime.datetime(value.year, value.month, value.day)
    return value.astimezone(datetime.timezone.utc).replace(tzinfo=None) if value.tzinfo else value


def _dates(name: str, values: Values) -> pa.Array:
    if any(isinstance(value, datetime.datetime) for value in values):
        return _moments(name, values)
    return pa.array(values, pa.date32())


def _seconds(name: str, values: Values) -> pa.Array:
    return pa.array([None if value is None else _seconds_of(value) for value in values], pa.float64())


def _seconds_of(value: Any) -> float:
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    return value.hour * 3600 + value.minute * 60 + value.second + value.microsecond / 1e6  # type: ignore[no-any-return]


def _objects(name: str, values: Values) -> pa.Array:
    return _texts(name, [None if value is None else json.dumps(value, ensure_ascii=False) for value in values])


def _lists(name: str, values: Values) -> pa.Array:
    elements = to_array(name, [element for value in values if value is not None for element in value])
    lengths = [0 if value is None else len(value) for value in values]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    missing = pa.array([value is None for value in values])
    return pa.ListArray.from_arrays(pa.array(offsets), elements, mask=missing)


# The first row whose types a column keeps to decides; a bool is an int, a datetime a date.
_CONVERTERS: tuple[tuple[tuple[type, ...], Callable[[str, Values], pa.Array]], ...] = (
    ((bool,), lambda name, values: pa.array(values, pa.bool_())),
    ((int,), _integers),
    ((int, float), _floats),
    ((int, Decimal), _decimals),
    ((int, float, Decimal), _floats),
    ((str, uuid.UUID), _texts),
    ((bytes, bytearray, memoryview), _bytes),
    ((datetime.date,), _dates),
    ((datetime.timedelta, datetime.time), _seconds),
    ((list, tuple), _lists),
    ((dict,), _objects),
)


def widest(name: str, types: Sequence[pa.DataType]) -> pa.DataType:
    """Return the type that holds the values of all of these.

    Raises:
        DataError: Where there is none, such as for numbers and text.

    Example:
        >>> widest("stock", [pa.null(), pa.int64(), pa.float64()])
        DataType(double)
    """
    found = types[0]
    for other in types[1:]:
        joined = _joined(found, other)
        if joined is None:
            raise DataError(
                f"column {name!r} of the query holds {found} in some rows and {other} in others. Expected one kind of "
                f"value a column. Fix: cast it in the query, e.g. CAST({name} AS CHAR)."
            )
        found = joined
    return found


def _joined(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if one.equals(other) or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if pa.types.is_list(one) and pa.types.is_list(other):
        element = _joined(one.value_type, other.value_type)
        return None if element is None else pa.list_(element)
    if {one, other} == {pa.date32(), _MICROSECONDS}:
        return _MICROSECONDS
    return _joined_numbers(one, other)


def _joined_numbers(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    both = (one, other)
    integers = [pa.types.is_integer(item) or pa.types.is_boolean(item) for item in both]
    decimals = [pa.types.is_decimal(item) for item in both]
    if not all(a or b or pa.types.is_floating(item) for a, b, item in zip(integers, decimals, both, strict=True)):
        return None
    if any(pa.types.is_floating(item) for item in both):
        return pa.float64()
    if all(integers):
        return pa.int64() if any(pa.types.is_boolean(item) for item in both) and pa.int64() in both else _WIDE
    scales = [item.scale if flag else 0 for item, flag in zip(both, decimals, strict=True)]
    digits = [
        item.precision - item.scale if flag else _LARGE_DECIMAL // 2 for item, flag in zip(both, decimals, strict=True)
    ]
    return _decimal(max(digits), max(scales))


def to_arrays(names: Sequence[str], rows: Sequence[Any], dates: set[int]) -> list[pa.Array]:
    """Rows as columns; in those whose numbers are in `dates`, MySQL's date of zeros is a missing value."""
    columns = enumerate(zip(names, zip(*rows, strict=True), strict=True))
    return [
        to_array(name, [None if _is_zero_date(value) else value for value in values] if number in dates else values)
        for number, (name, values) in columns
    ]


def _is_zero_date(value: object) -> bool:
    """Whether it is the '0000-00-00' of old tables, which is no date and which the driver gives as text."""
    return isinstance(value, str) and value.startswith(_ZERO_DATE)


def joined(names: Sequence[str], batches: Sequence[Sequence[pa.Array]]) -> pa.Table:
    """Batches of columns as one table, each column of the widest type found in it."""
    columns = []
    for name, arrays in zip(names, zip(*batches, strict=True), strict=True):
        type_ = widest(name, [array.type for array in arrays])
        columns.append(pa.chunked_array([array.cast(type_, safe=False) for array in arrays]))
    return pa.table(columns, names=list(names))
