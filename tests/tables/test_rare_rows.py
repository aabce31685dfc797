"""Rare ids that share a row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tfshop._keras import keras
from tfshop.compression import Candidate, EncodeTables
from tfshop.data import Splits
from tfshop.errors import PlanError
from tfshop.export import chain, convert
from tfshop.export.plan import Plan
from tfshop.runtime import Scorer
from tfshop.tables import Float32, Grouped, Hashed, Int2, Int4, Int8, RareRows, RowCounts, resolved
from tfshop.tables.codec import Fields

random = np.random.default_rng(5)
TABLE = random.normal(size=(1000, 8)).astype(np.float32)
FIELDS = Fields((0, 3, 600), (2, 0, 1, 0))
COUNTS = np.concatenate([[0.0, 9, 9], np.r_[0, 596:0:-1.0], np.r_[400:200:-1.0, np.zeros(200)]])
SHUFFLED = np.concatenate([COUNTS[:3], random.permutation(COUNTS[3:600]), random.permutation(COUNTS[600:])])


def exact(codec: RareRows, counts: Any = None) -> RareRows:
    made = resolved(codec, 1000, 8, counts, FIELDS)
    assert isinstance(made, RareRows)
    return made


def test_rare_rows_become_their_mean_by_count_and_others_stay() -> None:
    rows = RareRows(Float32(), min_count=100).encode(TABLE, COUNTS, fields=FIELDS).decode()
    for part, kept in ((slice(3, 600), 498), (slice(600, 1000), 200)):
        stays, folds = slice(part.start, part.start + kept), slice(part.start + kept, part.stop)
        assert np.array_equal(rows[stays], TABLE[stays])
        seen = COUNTS[folds] if COUNTS[folds].sum() else np.ones(folds.stop - folds.start)
        assert np.allclose(rows[folds], np.average(TABLE[folds], axis=0, weights=seen), atol=1e-6)
    assert np.array_equal(rows[0], TABLE[0])  # unknown and padding: not seen, and never folded
    assert np.array_equal(rows[1], rows[2]) and np.allclose(rows[1], TABLE[1:3].mean(axis=0))


def test_ids_by_frequency_need_no_table_and_others_get_the_smaller_way() -> None:
    codec = RareRows(Float32(), min_count=100)
    assert exact(codec, COUNTS).remap is False and exact(codec, COUNTS).kept == (1, 498, 200)
    found = exact(codec, SHUFFLED)
    assert found.remap is True and sum(found.kept) < 710  # type: ignore[arg-type]
    narrow = resolved(codec, 1000, 1, SHUFFLED, FIELDS)
    assert isinstance(narrow, RareRows) and narrow.remap is False  # two bytes a row against four
    coded = codec.encode(TABLE, SHUFFLED, fields=FIELDS)
    assert coded.arrays["remap"].shape == (1000, 2) and coded.arrays["remap"].dtype == np.uint8
    often = np.flatnonzero((SHUFFLED >= 100) | np.isin(np.arange(1000), FIELDS.starts))
    assert np.array_equal(coded.decode()[often], TABLE[often])
    assert coded.num_bytes == found.num_bytes(1000, 8, FIELDS) == 2000 + 4 * 8 * coded.arrays["kept_table"].shape[0]
    assert coded.codec == found


@pytest.mark.parametrize("trained", [COUNTS, SHUFFLED], ids=["ordered", "shuffled"])
def test_training_says_what_is_rare_and_what_is_expected_weighs_it(trained: np.ndarray) -> None:
    """Rows that were trained seldom are looked up a thousand times as often later, and the others never."""
    counts = RowCounts(trained, np.where(trained < 100, 1000.0 * (1 + trained), 0.0))
    codec = RareRows(Float32(), min_count=100)
    assert exact(codec, counts) == exact(codec, trained)
    rows = codec.encode(TABLE, counts, fields=FIELDS).decode()
    for part in FIELDS.slices(1000)[1:]:
        folds = np.flatnonzero(trained[part] < 100)[1 if trained[part.start] < 100 else 0 :] + part.start
        stays = np.setdiff1d(np.arange(part.start, part.stop), folds)
        assert np.array_equal(rows[stays], TABLE[stays]) and len(folds) > 90
        wanted = np.average(TABLE[folds], axis=0, weights=counts.expected[folds])
        assert np.allclose(rows[folds], wanted, atol=1e-6)


@pytest.mark.parametrize(
    "codec",
    [
        Grouped((Int8(), RareRows(Int4(), min_count=100, remap=True)), split=(20,)),
        RareRows(RareRows(Int4(), min_count=200), min_count=100),
        Hashed(32, 2, RareRows(Int4(), min_count=7_500)),
    ],
    ids=repr,
)
def test_codecs_inside_others_hear_of_training_too(codec: Any) -> None:
    """What is looked up later does not change which rows fold, nor the bytes."""
    found, plain = (
        resolved(codec, 1000, 8, counts, FIELDS) for counts in (RowCounts(SHUFFLED, np.full(1000, 1e6)), SHUFFLED)
    )
    assert found == plain != resolved(codec, 1000, 8, np.full(1000, 1e6), FIELDS)


def test_rows_that_are_frequent_only_later_fold_all_the_same(trained_mlp: Any, clicks: Splits) -> None:
    start, size = clicks.schema.tables["id_0"], clicks.schema.tables["id_1"]
    last = start + size - 1
    seen = np.bincount(clicks.train.inputs["ids"][:, 1], minlength=size)
    ids = clicks.validation.inputs["ids"].copy()
    ids[::2, 1] = size - 1
    data = replace(clicks, validation=replace(clicks.validation, inputs={**clicks.validation.inputs, "ids": ids}))
    codec = RareRows(Float32(), min_count=int(seen[-3:].max()) + 1)
    made = EncodeTables(codec).apply(Candidate(trained_mlp, clicks.schema), data, 0)
    rows, before = made.model.get_layer("table").table(), trained_mlp.get_layer("table").get_weights()[0]
    assert np.array_equal(rows[last], rows[last - 1]) and not np.array_equal(rows[last], before[last])
    gaps = np.abs(rows[last] - before[[last, last - 1]]).max(axis=1)
    assert gaps[0] < 0.2 * gaps[1]  # what is asked for most


def test_nothing_is_folded_where_nothing_is_rare() -> None:
    for codec in (RareRows(Int8()), RareRows(Int8(), kept=1000)):
        coded = codec.encode(TABLE, fields=FIELDS)
        assert np.array_equal(coded.decode(), Int8().encode(TABLE, fields=FIELDS).decode())
        assert codec.num_bytes(1000, 8, FIELDS) == Int8().num_bytes(1000, 8, FIELDS)


@pytest.mark.parametrize("counts", [COUNTS, SHUFFLED], ids=["ordered", "shuffled"])
@pytest.mark.parametrize("inner", [Int8("field"), Int2()], ids=repr)
@pytest.mark.parametrize("kept", [None, 70, 300, (2, 5, 390)])
def test_every_id_finds_its_row(counts: np.ndarray, inner: Any, kept: Any) -> None:
    stay = {"min_count": 100} if kept is None else {"kept": kept}
    coded = RareRows(inner, **stay, remap=counts is SHUFFLED).encode(TABLE, counts, fields=FIELDS)
    ends = [*FIELDS.starts[1:], 1000]
    columns = [np.resize(np.arange(FIELDS.starts[f], ends[f]), 600) for f in FIELDS.columns or ()]
    every = np.stack(columns, axis=1).astype(np.int32)
    ids = keras.Input((4,), dtype="int32", name="ids")
    model = keras.Model(ids, coded.layer("table")(ids))
    rows = coded.decode()[every]
    assert np.array_equal(model(every).numpy(), rows)
    assert np.array_equal(Scorer(convert(model, "float32", lambda: iter([])))({"ids": every}), rows)


@pytest.mark.parametrize("shape", [(), (3, 2)])
@pytest.mark.parametrize("rows", [1000, 70_000])
def test_ids_of_any_shape_find_their_row(shape: tuple[int, ...], rows: int) -> None:
    table = random.normal(size=(rows, 2)).astype(np.float32)
    counts = random.integers(0, 40, rows).astype(np.float64)
    coded = RareRows(Int4("table"), remap=True).encode(table, counts)
    assert coded.arrays["remap"].shape == (rows, 3 if rows > 2**16 else 2)
    ids = keras.Input(shape, dtype="int32", name="ids")
    model = keras.Model(ids, coded.layer("table")(ids))
    some = random.integers(0, rows, (900, *shape)).astype(np.int32)
    assert np.array_equal(model(some).numpy(), coded.decode()[some])
    assert np.array_equal(Scorer(convert(model, "float32", lambda: iter([])))({"ids": some}), coded.decode()[some])


def test_rare_rows_survive_json() -> None:
    for codec in (RareRows(), RareRows(Int2(), kept=(3, 4), remap=True)):
        plan = chain(EncodeTables({"id_0": codec}))
        assert Plan.from_json(plan.to_json()) == plan


def test_either_a_count_or_a_number_says_which_rows_stay() -> None:
    with pytest.raises(PlanError, match=r"given min_count=5 and kept=99.*Expected one of the two.*Fix:"):
        RareRows(kept=99, min_count=5)
    assert RareRows(kept=99, min_count=2) == RareRows(kept=99), "as older plans have it"
    assert RareRows() == RareRows(min_count=2)
    found = exact(RareRows(min_count=100), COUNTS)
    assert found.min_count is None and found.kept == (1, 498, 200)
    plan = chain(EncodeTables(found))
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize("change", [{"min_count": 0}, {"kept": 0}, {"kept": (3, -1)}, {"kept": ()}, {"min_count": 2.5}])
def test_numbers_out_of_range_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=rf"{next(iter(change))} is.*Expected.*Fix:"):
        RareRows(Int4(), **change)
    with pytest.raises(PlanError, match=r"RareRows was given 'Int4' as a codec.*Fix:"):
        RareRows("Int4")  # type: ignore[arg-type]
    with pytest.raises(PlanError, match=r"RareRows keeps rows of 2 features, and the table has 3.*Fix:"):
        RareRows(Int4(), kept=(1, 2)).encode(TABLE, fields=FIELDS)
