"""A file whose equal parts are written once holds, to every reader, what the plain file holds."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flatbuffers.number_types import Int8Flags
from flatbuffers.table import Table

from tfshop.compression import Candidate, EncodeTables
from tfshop.data import Splits
from tfshop.export import Export
from tfshop.models import build_model
from tfshop.runtime.sharing import MOST_BYTES, SharingBuilder
from tfshop.runtime.structure import OpenFile
from tfshop.tables import Grouped, Int1, Int2


@pytest.fixture(scope="module")
def content(clicks: Splits) -> bytes:
    """An int8 file with lookups of two widths."""
    model = build_model("mlp", clicks.schema, dimension=8, hidden=(16, 16), seed=0)
    coding = EncodeTables(Grouped((Int2("field"), Int1("field")), (0.5,)))
    return Export("int8").to_bytes(coding.apply(Candidate(model, clicks.schema), clicks, 0).model, clicks)


def _plain(value: Any) -> Any:
    """An object of the schema as plain data, whatever it is made of."""
    if isinstance(value, np.ndarray):
        return [value.dtype.kind, *value.tolist()]
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return {name: _plain(own) for name, own in vars(value).items()} if hasattr(value, "__dict__") else value


def _read(content: bytes) -> Any:
    return _plain(schema.ModelT.InitFromObj(schema.Model.GetRootAs(content)))


def test_objects_are_the_same_and_bytes_are_fewer(content: bytes) -> None:
    plain, shared = OpenFile(content).to_bytes(), OpenFile(content).to_bytes(share=True)
    assert _read(shared) == _read(plain)
    assert len(shared) < len(plain) - 2000
    assert OpenFile(shared).to_bytes(share=True) == shared


def test_constants_begin_where_the_runtime_wants_them(content: bytes) -> None:
    shared = OpenFile(content).to_bytes(share=True)
    model = schema.Model.GetRootAs(shared)
    base = np.frombuffer(shared, np.uint8).__array_interface__["data"][0]
    places = [
        model.Buffers(number).DataAsNumpy().__array_interface__["data"][0] - base
        for number in range(model.BuffersLength())
        if model.Buffers(number).DataLength()
    ]
    assert len(places) > 10 and all(place % 16 == 0 for place in places)


def _table(builder: flatbuffers.Builder, number: int, target: int | None = None) -> int:
    builder.StartObject(2)
    builder.PrependInt32Slot(0, number, 0)
    if target is not None:
        builder.PrependUOffsetTRelativeSlot(1, target, 0)
    return int(builder.EndObject())


def _vector(builder: flatbuffers.Builder, numbers: list[int]) -> int:
    return int(builder.CreateNumpyVector(np.array(numbers, dtype=np.int32)))


def test_only_what_means_the_same_is_shared() -> None:
    builder = SharingBuilder(64)
    first, second = _vector(builder, [1, 2]), _vector(builder, [1, 3])
    assert _vector(builder, [1, 2]) == first != second
    one, other = _table(builder, 7, first), _table(builder, 7, second)
    assert _table(builder, 7, first) == one != other
    assert _table(builder, 7) not in {one, other} and _table(builder, 8, first) != one
    assert builder.CreateString("name") == builder.CreateString("name") != builder.CreateString("names")
    assert _bytes_of(builder, 4) == _bytes_of(builder, 4) != _vector(builder, [0])  # the same bytes, more loosely laid
    assert _slot(builder, 0, 7) != _slot(builder, 1, 7)


def test_tables_of_codes_are_not_looked_for() -> None:
    builder = SharingBuilder(64)
    assert _bytes_of(builder, MOST_BYTES) == _bytes_of(builder, MOST_BYTES)
    assert _bytes_of(builder, MOST_BYTES + 4) != _bytes_of(builder, MOST_BYTES + 4)


def _bytes_of(builder: flatbuffers.Builder, count: int) -> int:
    return int(builder.CreateNumpyVector(np.zeros(count, dtype=np.uint8)))


def _slot(builder: flatbuffers.Builder, number: int, value: int) -> int:
    builder.StartObject(2)
    builder.PrependInt32Slot(number, value, 0)
    return int(builder.EndObject())


def _small(builder: flatbuffers.Builder, value: int) -> int:
    builder.StartObject(1)
    builder.PrependInt8Slot(0, value, 0)
    return int(builder.EndObject())


def test_small_tables_keep_what_says_where_their_fields_are() -> None:
    """A table that ends off a boundary of four bytes, its like behind it, and another of that make."""
    builder = SharingBuilder(64)
    tables = [_small(builder, value) for value in (5, 5, 9)]
    assert tables[0] == tables[1] != tables[2]
    _vector(builder, [1, 2, 3])
    builder.StartVector(4, len(tables), 4)
    for table in reversed(tables):
        builder.PrependUOffsetTRelative(table)
    builder.Finish(builder.EndVector())
    content = bytes(builder.Output())
    assert [_field(content, number) for number in range(len(tables))] == [5, 5, 9]


def _field(content: bytes, number: int) -> int:
    """The only field of a table in the vector that is the root."""
    read = Table(bytearray(content), int.from_bytes(content[:4], "little"))
    table = Table(read.Bytes, read.Indirect(read.Pos + 4 + 4 * number))
    place = table.Offset(4)
    return int(table.Get(Int8Flags, table.Pos + place)) if place else 0


def test_tables_that_point_from_elsewhere_to_the_same_are_one() -> None:
    builder = SharingBuilder(64)
    target = _vector(builder, [4])
    one = _table(builder, 1, target)
    _vector(builder, list(range(50)))  # relative offsets of what follows are others
    before = builder.Offset()
    assert _table(builder, 1, target) == one and builder.Offset() == before
