"""Codecs of more bits, and of fewer: the same codec otherwise, and an end on both sides."""

from __future__ import annotations

from typing import Any

import pytest

from tfshop.tables import (
    CODECS,
    Codec,
    Float16,
    Float32,
    Grouped,
    Hashed,
    Int1,
    Int2,
    Int3,
    Int4,
    Int8,
    LowRankTable,
    MemCom,
    ProductQuantization,
    RareRows,
    ResidualQuantization,
    RowwiseLookup,
)
from tfshop.tables.bits import fewer_bits, more_bits


@pytest.mark.parametrize(
    ("coarse", "fine"),
    [
        (Int1("field"), Int2("field")),
        (Int2("row", "max"), Int4("row", "max")),
        (Int4(8), Int8(8)),
        (RowwiseLookup(2, "max"), RowwiseLookup(4, "max")),
        (RowwiseLookup(4), RowwiseLookup(8)),
        (ProductQuantization(2, 64, scale="row"), ProductQuantization(4, 64, scale="row")),
        (ResidualQuantization(1), ResidualQuantization(2)),
        (RareRows(Int2(), kept=9), RareRows(Int4(), kept=9)),
        (LowRankTable(3, Int4()), LowRankTable(3, Int8())),
        (Hashed(64, 3, Int2()), Hashed(64, 3, Int4())),
        (MemCom(32, Int4("table")), MemCom(32, Int8("table"))),
    ],
    ids=repr,
)
def test_there_and_back(coarse: Codec, fine: Codec) -> None:
    assert more_bits(coarse) == fine and fewer_bits(fine) == coarse


@pytest.mark.parametrize(
    ("codec", "finer", "coarser"),
    [
        (Int3(), Int4(), Int2()),
        (Grouped((Int8(), Int2()), (0.8,)), Grouped((Int8(), Int4()), (0.8,)), Grouped((Int4(), Int2()), (0.8,))),
        (Float32(), None, Int8()),
        (Float16(), None, Int8()),
        (Int2(grid="mid-tread"), Int4(), None),
        (Grouped((Int2(), RareRows(Int2())), (5,)), Grouped((Int4(), RareRows(Int4())), (5,)), None),
        (Int8(), None, Int4()),
    ],
    ids=repr,
)
def test_two_bits_are_the_fewest_that_need_no_training(codec: Codec, finer: Any, coarser: Any) -> None:
    assert more_bits(codec) == finer and fewer_bits(codec, least=2) == coarser


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("step", [more_bits, fewer_bits])
def test_every_codec_comes_to_an_end(name: str, step: Any) -> None:
    seen, codec = [], CODECS[name]()
    while codec is not None:
        assert codec not in seen and len(seen) < 6
        seen.append(codec)
        codec = step(codec)
