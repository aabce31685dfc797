"""Codecs within codecs: any within any that takes one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tfshop._keras import keras
from tfshop.errors import PlanError
from tfshop.export import convert
from tfshop.runtime.inventory import bytes_by_part
from tfshop.tables import (
    CODECS,
    Codec,
    Grouped,
    Hashed,
    Int2,
    Int4,
    Int8,
    LowRankTable,
    MemCom,
    ProductQuantization,
    QuotientRemainder,
    RareRows,
    resolved,
)
from tfshop.tables.codec import ALONE, Fields
from tfshop.tables.rare_rows import folds_rows

ROWS, WIDTH = 300, 6
FIELDS = Fields((0, 100, 220), (0, 1, 1, 2))
TABLE = np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype(np.float32)
ORDERED = np.concatenate([np.floor(90.0 / np.arange(1, size + 1)) for size in (100, 120, 80)])
COUNTS = {"none": None, "ordered": ORDERED, "shuffled": np.random.default_rng(1).permutation(ORDERED)}
SMALL: dict[str, dict[str, Any]] = {
    "ProductQuantization": {"codes": 2, "centroids": 16},
    "ResidualQuantization": {"codes": 2, "centroids": 16},
    "Hashed": {"buckets": 32},
    "QuotientRemainder": {"buckets": 16},
    "MemCom": {"buckets": 16},
    "RareRows": {"codec": Int8("field"), "min_count": 20},
}
INNER: dict[str, Codec] = {name: kind(**SMALL.get(name, {})) for name, kind in CODECS.items()}
OUTER: dict[str, Callable[[Any], Codec]] = {
    "Grouped": lambda codec: Grouped((Int8(), codec, Int2("field")), (0.5, 0.9)),
    "RareRows": lambda codec: RareRows(codec, min_count=3),
    "LowRankTable": lambda codec: LowRankTable(3, codec),
    "Hashed": lambda codec: Hashed(32, 2, codec),
    "QuotientRemainder": lambda codec: QuotientRemainder(16, codec),
    "MemCom": lambda codec: MemCom(16, codec),
}
NO_TABLES = ("scale", "starts", "means", "projection")  # multiplied by and added, not looked up
each_outer = pytest.mark.parametrize("outer", OUTER)


def test_every_codec_that_takes_others_is_tested_here() -> None:
    takes = {name for name, kind in CODECS.items() if {"codec", "codecs"} & set(kind.__dataclass_fields__)}
    assert takes == set(OUTER)


@each_outer
@pytest.mark.parametrize("inner", INNER)
def test_bytes_are_known_once_rows_are_counted(outer: str, inner: str) -> None:
    if outer == "LowRankTable" and not inner.startswith("Int"):
        with pytest.raises(PlanError, match=r"as a codec.*Fix:"):
            OUTER[outer](INNER[inner])
        return
    codec = OUTER[outer](INNER[inner])
    for counts in COUNTS.values():
        for fields in (FIELDS, ALONE):
            found = resolved(codec, ROWS, WIDTH, counts, fields)
            coded = codec.encode(TABLE, counts, fields=fields)
            predicted = found.num_bytes(ROWS, WIDTH, fields)
            assert predicted == coded.num_bytes == coded.codec.num_bytes(ROWS, WIDTH, fields)
            assert counts is not None or predicted == codec.num_bytes(ROWS, WIDTH, fields)


@pytest.mark.parametrize(
    ("outer", "inner"), [("Hashed", "RareRows"), ("QuotientRemainder", "Grouped"), ("MemCom", "Hashed")]
)
def test_the_file_holds_as_many(outer: str, inner: str) -> None:
    coded = OUTER[outer](INNER[inner]).encode(TABLE, ORDERED, fields=FIELDS)
    ids = keras.Input((4,), dtype="int32", name="ids")
    content = convert(keras.Model(ids, coded.layer("table")(ids)), "float32", lambda: iter([]))
    others = sum(array.nbytes for name, array in coded.arrays.items() if name.endswith(NO_TABLES))
    assert bytes_by_part(content)["tables"] + others == coded.codec.num_bytes(ROWS, WIDTH, FIELDS)


@pytest.mark.parametrize("codec", [Int4(), Int2("field"), ProductQuantization(2, 16)], ids=repr)
def test_tables_are_read_back_with_their_arrays_read_once(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    coded = codec.encode(TABLE, ORDERED, fields=FIELDS)
    layer, reads = coded.layer("table"), []
    stored = layer.get_weights
    monkeypatch.setattr("tfshop.tables.codec.CHUNK", 50)
    monkeypatch.setattr(layer, "get_weights", lambda: reads.append(1) or stored())
    assert np.array_equal(layer.table(), coded.decode()) and len(reads) == 1


@pytest.mark.parametrize(
    "codec", [Grouped(), RareRows(Int4(), 20), LowRankTable(3), Hashed(32), MemCom(16)], ids=lambda codec: codec.name
)
def test_every_column_looks_other_rows_up_while_a_table_is_read_back(
    codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    coded = codec.encode(TABLE, ORDERED, fields=FIELDS)
    layer, asked = coded.layer("table"), []
    decoded = layer.decoded
    monkeypatch.setattr("tfshop.tables.nested.A_RUN", 32)
    monkeypatch.setattr(layer, "decoded", lambda ids: asked.append(ids.shape.as_list()) or decoded(ids))
    assert np.array_equal(layer.table(), coded.decode())
    assert sum(rows for rows, _ in asked) == 100  # of the first field; the second has two columns for 120
    some = np.random.default_rng(0).integers(0, ROWS, 500)
    assert np.array_equal(layer.rows(some), coded.decode()[some])
    assert layer.rows(some[:0]).shape == (0, WIDTH)


@each_outer
def test_rows_that_fold_are_found_inside(outer: str) -> None:
    if outer != "LowRankTable":
        assert folds_rows(OUTER[outer](RareRows()))
    assert folds_rows(OUTER[outer](Int4())) == (outer == "RareRows")
