"""A file whose equal parts are written once holds, to every reader, what the plain file holds."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

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
    zeros = np.zeros(3, dtype=np.int32)
    assert builder.CreateNumpyVector(zeros) != builder.CreateNumpyVector(zeros.astype(np.int64))  # other bytes
    large = np.zeros(MOST_BYTES + 4, dtype=np.uint8)
    assert builder.CreateNumpyVector(large) != builder.CreateNumpyVector(large)  # not looked for: codes of a table


def test_tables_that_point_from_elsewhere_to_the_same_are_one() -> None:
    builder = SharingBuilder(64)
    target = _vector(builder, [4])
    one = _table(builder, 1, target)
    _vector(builder, list(range(50)))  # relative offsets of what follows are others
    before = builder.Offset()
    assert _table(builder, 1, target) == one and builder.Offset() == before
