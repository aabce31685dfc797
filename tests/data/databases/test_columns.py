from __future__ import annotations

import datetime
import uuid
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfshop.data.databases.columns import to_array, widest
from tfshop.errors import DataError

UTC = datetime.timezone.utc
NOON = datetime.datetime(2024, 2, 29, 12)
IDENTITY = uuid.UUID(int=7)


@pytest.mark.parametrize(
    ("values", "type_", "expected"),
    [
        ([None, None], pa.null(), [None, None]),
        ([1, None, -3], pa.int64(), [1, None, -3]),
        ([2**64 - 1, 0], pa.uint64(), [2**64 - 1, 0]),
        ([2**64 - 1, -1], pa.decimal128(38, 0), [Decimal(2**64 - 1), Decimal(-1)]),
        ([10**40, 1], pa.float64(), [1e40, 1.0]),
        ([True, None], pa.bool_(), [True, None]),
        ([1, 2.5], pa.float64(), [1.0, 2.5]),
        ([Decimal("1.50"), Decimal("1000")], pa.decimal128(18, 2), [Decimal("1.50"), Decimal("1000.00")]),
        ([Decimal("1e20"), Decimal("0.01")], pa.decimal128(38, 2), [Decimal("1e20"), Decimal("0.01")]),
        ([Decimal("NaN"), Decimal("1.5")], pa.decimal128(18, 1), [None, Decimal("1.5")]),
        ([Decimal("1e60"), 1], pa.float64(), [1e60, 1.0]),
        (["é", "👟👟", "", None], pa.string(), ["é", "👟👟", "", None]),
        ([IDENTITY], pa.string(), [str(IDENTITY)]),
        ([b"\x00\xff", memoryview(b"a")], pa.binary(), [b"\x00\xff", b"a"]),
        ([datetime.date(2024, 2, 29)], pa.date32(), [datetime.date(2024, 2, 29)]),
        ([datetime.date(2024, 2, 29), NOON], pa.timestamp("us"), [datetime.datetime(2024, 2, 29), NOON]),
        (
            [NOON.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=2)))],
            pa.timestamp("us"),
            [NOON.replace(hour=10)],
        ),
        ([datetime.timedelta(hours=1), datetime.time(0, 0, 2)], pa.float64(), [3600.0, 2.0]),
        ([[1, 2], None, []], pa.list_(pa.int64()), [[1, 2], None, []]),
        ([{"a": "é"}], pa.string(), ['{"a": "é"}']),
    ],
)
def test_what_drivers_give_keeps_its_value(values, type_, expected):
    array = to_array("c", values)
    assert array.type == type_
    assert array.to_pylist() == expected


@pytest.mark.parametrize("values", [[1, "a"], ["a", b"b"], [1.5, datetime.date(2024, 1, 1)], [[1], 2], [{}, 1]])
def test_a_column_of_two_kinds_is_refused_with_both_shown(values):
    with pytest.raises(
        DataError, match=r"'c' of the query holds \w+ .* and|'c' of the query holds \w+ \(e.g..*, \w+ \(e.g."
    ):
        to_array("c", values)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # drawing waits where the machine is busy
@given(
    st.lists(st.one_of(st.none(), st.integers(-(10**37), 10**37), st.decimals("-1e15", "1e15", places=3)), max_size=20)
)
def test_whole_and_decimal_numbers_come_back_exactly(values):
    kinds = {type(value) for value in values}
    found = to_array("c", values)
    if not pa.types.is_floating(found.type):
        assert [None if v is None else Decimal(v) for v in found.to_pylist()] == [
            None if v is None else Decimal(v) for v in values
        ]
    else:
        assert kinds >= {int, Decimal}  # more digits than any decimal has


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        ([pa.null(), pa.string()], pa.string()),
        ([pa.string(), pa.null()], pa.string()),
        ([pa.int64(), pa.float64(), pa.int64()], pa.float64()),
        ([pa.int64(), pa.uint64()], pa.decimal128(38, 0)),
        ([pa.bool_(), pa.int64()], pa.int64()),
        ([pa.decimal128(18, 2), pa.decimal128(18, 4)], pa.decimal128(38, 4)),
        ([pa.decimal128(18, 2), pa.int64()], pa.decimal128(38, 2)),
        ([pa.decimal128(38, 0), pa.decimal128(38, 20)], pa.float64()),
        ([pa.date32(), pa.timestamp("us")], pa.timestamp("us")),
        ([pa.list_(pa.null()), pa.list_(pa.int64())], pa.list_(pa.int64())),
    ],
)
def test_parts_of_different_types_get_one_that_holds_both(types, expected):
    assert widest("c", types) == expected
    assert widest("c", types[::-1]) == expected


@pytest.mark.parametrize("types", [[pa.int64(), pa.string()], [pa.string(), pa.binary()], [pa.date32(), pa.int64()]])
def test_parts_without_a_common_type_are_refused(types):
    with pytest.raises(DataError, match=r"'c' of the query holds .* in some rows"):
        widest("c", types)
