"""Rows as sums of shared ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tfshop._keras import keras
from tfshop.compression import EncodeTables
from tfshop.errors import PlanError
from tfshop.export import chain, convert
from tfshop.export.plan import Plan
from tfshop.runtime import Scorer
from tfshop.tables import Float32, Grouped, Hashed, Int4, Int8, QuotientRemainder, RareRows, resolved
from tfshop.tables.codec import ALONE, Fields
from tfshop.tables.id_places import FACTORS, places_of, taken_apart
from tfshop.tables.nested import coded_through

random = np.random.default_rng(11)
FIELDS = Fields((0, 500), (1, 0, 1))
PARTS = random.normal(size=(2, 64, 8))
IDS = np.arange(2000)
TABLE = (PARTS[0][IDS % 64] + PARTS[1][IDS // 64] + 3 * (IDS[:, None] < 500)).astype(np.float32)


@pytest.mark.parametrize("buckets", [16, 1024, 2**22])
def test_ids_are_taken_apart_without_rounding(buckets: int) -> None:
    ids = np.unique(np.concatenate([np.arange(5000), 2**24 - 1 - np.arange(5000), random.integers(0, 2**24, 50_000)]))
    parts = taken_apart(ids.astype(np.float32), buckets, np.floor)
    found = places_of(*parts, buckets, (*FACTORS, None), np.floor)
    assert all(place.dtype == np.float32 for place in found)
    for factor, place in zip(FACTORS, found[:-1], strict=True):
        assert np.array_equal(place.astype(np.int64), (ids % buckets + factor * (ids // buckets)) % buckets)
    assert np.array_equal(found[-1].astype(np.int64), ids // buckets)


def test_two_ids_share_all_rows_only_far_apart() -> None:
    for codec in (Hashed(64, hashes=2), QuotientRemainder(64)):
        pairs = np.stack(codec._places(np.arange(64 * 64)), axis=1)
        assert len(np.unique(pairs, axis=0)) == 64 * 64


def test_a_table_of_sums_comes_back() -> None:
    assert QuotientRemainder(64).encode(TABLE, fields=FIELDS).distortion(TABLE) < 1e-3
    assert Hashed(64, hashes=1).encode(TABLE).distortion(TABLE) > 0.2


def test_shared_rows_are_those_of_least_squared_error_by_counts() -> None:
    table = random.normal(size=(400, 4)).astype(np.float32)
    counts = random.integers(0, 50, 400).astype(np.float64)
    codec = Hashed(32, hashes=2)
    coded = codec.encode(table, counts)
    root = np.sqrt(counts + 1)[:, None]
    used = np.zeros((400, codec.num_shared(400) + 1))
    used[:, -1] = 1
    for places in codec._places(np.arange(400)):
        used[np.arange(400), places] = 1
    best = used @ np.linalg.lstsq(used * root, table * root, rcond=None)[0]
    least, found = (((rows - table) ** 2 * (counts + 1)[:, None]).sum() for rows in (best, coded.decode()))
    assert least <= found < 1.02 * least
    mean = RareRows(Float32(), kept=1).encode(table, counts)
    assert coded.distortion(table, counts) < 0.9 * mean.distortion(table, counts)


@pytest.mark.parametrize("shape", [(), (6,), (3, 2)])
@pytest.mark.parametrize("codec", [Hashed(64, 4, Int8()), QuotientRemainder(64)], ids=repr)
def test_ids_of_any_shape_find_their_rows(codec: Any, shape: tuple[int, ...]) -> None:
    coded = codec.encode(TABLE)
    ids = keras.Input(shape, dtype="int32", name="ids")
    model = keras.Model(ids, coded.layer("table")(ids))
    some = random.integers(0, 2000, (300, *shape)).astype(np.int32)
    rows = coded.decode()[some]
    assert np.array_equal(model(some).numpy(), rows)
    assert np.array_equal(Scorer(convert(model, "float32", lambda: iter([])))({"ids": some}), rows)


@pytest.mark.parametrize("counts", [None, 2e5 // (1 + IDS % 1500)], ids=["alike", "counted"])
@pytest.mark.parametrize("outer", [Hashed(32), QuotientRemainder(64)], ids=repr)
def test_bytes_are_those_of_how_often_shared_rows_are_seen(outer: Any, counts: Any) -> None:
    """As often as all ids together that read them."""
    for inner in (Grouped((Int8(), Int4()), (0.7,)), RareRows(Int8("field"), min_count=40_000)):
        codec = replace(outer, codec=inner)
        found = resolved(codec, *TABLE.shape, counts, FIELDS)
        coded = codec.encode(TABLE, counts, fields=FIELDS)
        assert coded.codec == found and resolved(found, *TABLE.shape, counts, FIELDS) == found
        assert coded.num_bytes == found.num_bytes(*TABLE.shape, FIELDS)
    seen = np.zeros(outer.num_shared(2000))
    for places in outer._places(IDS) if counts is not None else ():
        np.add.at(seen, places, counts)
    rare = resolved(replace(outer, codec=RareRows(min_count=40_000, remap=True)), *TABLE.shape, counts)
    often = (seen >= 40_000) | (np.arange(len(seen)) == 0)
    assert rare.codec.kept == ((len(seen) if counts is None else often.sum()),)  # type: ignore[attr-defined]


def test_buckets_come_before_hashes_and_the_codec_is_last() -> None:
    assert Hashed(256, 3, Int8()) == Hashed(codec=Int8(), hashes=3, buckets=256)
    with pytest.raises(PlanError, match=r"hashes is Int8.*Fix: Hashed\(hashes=2\)"):
        Hashed(256, Int8())  # type: ignore[arg-type]


def test_shared_rows_survive_json() -> None:
    tail = Grouped((Int8(), Hashed(64, 3, Int4("table"))), split=(0.9,))
    plan = chain(EncodeTables({"id_0": tail, "id_1": QuotientRemainder(16)}))
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    ("codec", "change"),
    [
        (Hashed, {"hashes": 5}),
        (Hashed, {"hashes": 0}),
        (Hashed, {"buckets": 100}),
        (QuotientRemainder, {"buckets": 8}),
        (QuotientRemainder, {"buckets": 2**23}),
        (QuotientRemainder, {"codec": "Int4"}),
    ],
)
def test_settings_out_of_range_are_refused(codec: Any, change: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=r"(is \d+|as a codec).*Expected.*Fix:"):
        codec(**change)


@pytest.mark.parametrize("codec", [Hashed(2**12, 4), QuotientRemainder(2**12)], ids=repr)
def test_tables_of_more_rows_than_floats_tell_apart_find_theirs(codec: Any) -> None:
    """26 features of a million rows in one table, of which only what is shared is there."""
    num_rows, buckets = 26 * 2**20, codec.buckets
    shared = random.normal(size=(codec.num_shared(num_rows), 3)).astype(np.float32)
    table = np.broadcast_to(np.float32(0), (num_rows, 3))
    inner = {"shared": Float32().encode(shared)}
    coded = coded_through(codec, table, inner, ALONE, means=np.zeros((1, 3), np.float32))
    near = np.arange(-2000, 2000)
    ids = np.concatenate(
        [near + 2**24, near + 25 * 2**20, num_rows - 1 - np.arange(4000), random.integers(0, num_rows, 4000)]
    )
    wanted = np.zeros((len(ids), 3), np.float32)
    for number, factor in enumerate(codec.factors()):
        whole, rest = np.divmod(ids, buckets)
        wanted += shared[(whole if factor is None else (rest + factor * whole) % buckets) + number * buckets]
    assert np.array_equal(coded.rows(ids), wanted) and len(np.unique(wanted[:4000], axis=0)) == 4000
    given = keras.Input((), dtype="int32", name="ids")
    model = keras.Model(given, coded.layer("table")(given))
    asked = ids.astype(np.int32)
    assert np.array_equal(model(asked).numpy(), wanted)
    assert np.array_equal(Scorer(convert(model, "float32", lambda: iter([])))({"ids": asked}), wanted)


def test_more_rows_than_buckets_tell_apart_are_refused_before_anything_is_coded() -> None:
    message = r"Hashed with 16 buckets was given 100,000,000 rows. Expected at most 53,687,040.*Fix: Hashed\(buckets=32"
    for ask in (Hashed(16, 4).num_bytes, Hashed(16, 4).resolved):
        with pytest.raises(PlanError, match=message):
            ask(100_000_000, 16)
    assert Hashed(32, 4).num_bytes(100_000_000, 16) == 4 * 16 * (4 * 32 + 1)
