"""Tables that learn give what their codes will give, before, during and after."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from tfshop._keras import keras, tf
from tfshop.export import convert
from tfshop.runtime import Scorer
from tfshop.tables import (
    Codec,
    CodedTable,
    Float16,
    Float32,
    Grouped,
    Hashed,
    Int2,
    Int3,
    Int4,
    Int8,
    LowRankTable,
    MemCom,
    ProductQuantization,
    QuotientRemainder,
    RareRows,
    ResidualQuantization,
    RowwiseLookup,
    TableLookup,
)
from tfshop.tables.blocks import Block, block_layer
from tfshop.tables.codec import Fields, learns
from tfshop.tables.tuning import TunedIntegers, straight_through

ROWS, WIDTH = 300, 6
FIELDS = Fields((0, 40, 200), (0, 1, 1, 2))
VARIANTS: dict[str, Codec] = {
    "a row": Int4(),
    "a field": Int2("field"),
    "a table": Int3("table"),
    "a group": Int2(16),
    "eight bits": Int8("table", grid="mid-tread"),
    "scales in float32": RowwiseLookup(8),
    "scales in float16": RowwiseLookup(2),
    "floats": Float32(),
    "products": ProductQuantization(3, centroids=16),
    "products a field": ProductQuantization(2, centroids=16, codebooks="field"),
    "products, lengths": ProductQuantization(2, centroids=16, scale="row"),
    "head and tail": Grouped((Int4("field"), Int2("field")), (30,)),
    "rare rows": RareRows(Int4("field"), min_count=3),
    "rare rows by a table": RareRows(Int4(), min_count=3, remap=True),
    "rare rows of a group": Grouped((Int4("field"), RareRows(Int2(), min_count=3)), (20,)),
    "sums": ResidualQuantization(2, centroids=16, codebooks="field"),
    "short rows": LowRankTable(4, Int4()),
    "short rows, a step a field": LowRankTable(3, Int8("field")),
    "hashed": Hashed(32),
    "hashed, of bytes": Hashed(32, 3, Int8()),
    "quotients": QuotientRemainder(16, Int4("table")),
    "factors": MemCom(16),
    "factors and codes": MemCom(16, Int4()),
    "short and shared rows of a group": Grouped((LowRankTable(3), RareRows(Hashed(16), min_count=3)), (20,)),
}
COUNTS = np.concatenate([np.arange(part, 0.0, -1) for part in (40, 160, 100)])
each_variant = pytest.mark.parametrize("variant", [*VARIANTS, "blocks"])


def table() -> np.ndarray:
    random = np.random.default_rng(0)
    made = random.normal(size=(ROWS, WIDTH)) * np.exp(random.normal(size=(ROWS, 1)))
    made[5] = 0
    return made.astype(np.float32)


@cache
def coded(variant: str) -> CodedTable:
    return VARIANTS[variant].encode(table(), COUNTS, fields=FIELDS)


def lookup(variant: str) -> TableLookup:
    if variant != "blocks":
        return coded(variant).layer("table")
    rows = table()
    first = Int2("field").encode(np.concatenate([rows[200:], rows[:40]]), fields=Fields((0, 100), (1, 0)))
    second, third = Float16().encode(rows[40:200]), ((200, 100), (0, 40))
    blocks = [Block(first, [0, 3], [100, -200], third), Block(second, [1, 2], [-40, -40], [(40, 160)])]
    return block_layer(blocks, ROWS, FIELDS, name="table")


def drawn_ids(batch: int = 64) -> np.ndarray:
    ends = [*FIELDS.starts[1:], ROWS]
    random = np.random.default_rng(1)
    columns = [random.integers(FIELDS.starts[field], ends[field], batch) for field in FIELDS.columns or ()]
    return np.stack(columns, axis=1).astype(np.int32)


@each_variant
def test_it_starts_at_what_the_codes_stand_for(variant: str) -> None:
    layer = lookup(variant)
    ids = drawn_ids()
    wanted = layer(ids).numpy()
    np.testing.assert_array_equal(layer.table()[ids], wanted)
    for start in (table(), layer.table()):  # rows before they were coded, and rows that are on the grid already
        np.testing.assert_allclose(layer.tuned(start)(ids).numpy(), wanted, rtol=1e-5, atol=1e-6)


@each_variant
def test_what_was_learned_is_what_is_stored(variant: str) -> None:
    layer = lookup(variant)
    before = layer(drawn_ids()).numpy()
    twin = layer.tuned(table())
    random = np.random.default_rng(2)
    for variable in twin.trainable_variables:
        variable.assign_add(0.3 * random.normal(size=variable.shape))
    learned = twin(drawn_ids()).numpy()
    assert np.abs(learned - before).mean() > 0.05
    after = layer.after(twin)
    assert {key: (a.shape, a.dtype) for key, a in after.items()} == {
        key: (a.shape, a.dtype) for key, a in layer.stored().items()
    }
    np.testing.assert_allclose(layer.filled(after)(drawn_ids()).numpy(), learned, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_after_learning_numpy_keras_and_the_file_still_agree_to_the_last_bit(variant: str) -> None:
    start = coded(variant)
    layer = start.layer("table")
    twin, random = layer.tuned(table()), np.random.default_rng(3)
    for variable in twin.trainable_variables:
        variable.assign_add(2 * random.normal(size=variable.shape))
    learned = replace(start, arrays=layer.after(twin))
    wanted = learned.decode()[drawn_ids()]
    ids = keras.Input((4,), dtype="int32", name="ids")
    model = keras.Model(ids, learned.layer("table")(ids))
    assert learned.num_bytes == start.num_bytes and not np.array_equal(learned.decode(), start.decode())
    np.testing.assert_array_equal(model(drawn_ids()).numpy(), wanted)
    np.testing.assert_array_equal(Scorer(convert(model, "float32", lambda: iter([])))({"ids": drawn_ids()}), wanted)


def test_a_projection_stays_one_of_whole_numbers_that_add_up_exactly() -> None:
    layer = lookup("short rows")
    twin = layer.tuned(table())
    twin.parts["projection"].values.assign_add(3 * np.random.default_rng(4).normal(size=(WIDTH, 4)))
    projection = layer.after(twin)["projection"].astype(np.float64)
    assert np.array_equal(projection, np.rint(projection)) and np.abs(projection).max() == 2**12
    assert 2.0**4 * np.abs(projection).sum(axis=1).max() <= 2**24
    assert 0.3 < np.abs(twin.parts["rows"].rows.numpy()).mean() < 3  # in a size that steps of an optimizer fit


def test_a_factor_learns_for_its_id_alone_and_stays_among_the_levels() -> None:
    layer = lookup("factors")
    twin = layer.tuned(table())
    factors, shared = twin.parts["codes"].factors, twin.parts["shared"].rows
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(twin(tf.constant([[3, 9, 9, 250]])))
    by_factor, by_row = tape.gradient(total, [factors, shared])
    assert sorted(by_factor.indices.numpy().tolist()) == [3, 9, 9, 250]
    rows = layer.stored()["codes"][[3, 9, 250], 0]
    assert set(np.flatnonzero(tf.convert_to_tensor(by_row).numpy().any(axis=1))) == set(rows.tolist())
    factors.assign_add(np.full(ROWS, 1e6, np.float32))  # beyond the last level
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(twin(tf.constant([[3, 9, 9, 250]])))
    assert not tf.convert_to_tensor(tape.gradient(total, factors)).numpy().any()
    after = layer.after(twin)
    assert (after["codes"][:, 1] == 255).all() and np.array_equal(after["codes"][:, 0], layer.stored()["codes"][:, 0])


def test_columns_of_one_field_keep_one_mean() -> None:
    layer = lookup("hashed")
    twin = layer.tuned(table())
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(twin(tf.constant(drawn_ids(1))))
    means = twin.parts["means"].values
    assert tf.convert_to_tensor(tape.gradient(total, means)).numpy()[:, 0].tolist() == [1.0, 2.0, 1.0]
    means.assign_add(np.arange(3 * WIDTH, dtype=np.float32).reshape(3, WIDTH))
    after = layer.after(twin)["means"]
    assert np.array_equal(after[1], after[2]) and not np.array_equal(after[1], layer.stored()["means"][1])


def test_codes_that_cannot_learn_stay_as_they_are() -> None:
    coded: CodedTable = Float16().encode(table())
    assert coded.layer("table").tuned(table()) is None
    blocks = lookup("blocks")
    twin = blocks.tuned(table())
    twin.parts["block_0"].rows.assign_add(np.ones((140, WIDTH), np.float32))
    half = {key: a for key, a in blocks.stored().items() if key.startswith("block_1")}
    assert all(np.array_equal(a, blocks.after(twin)[key]) for key, a in half.items())


@each_variant
def test_lookups_know_that_they_learn(variant: str) -> None:
    assert lookup(variant).learns and lookup(variant).tuned(table()) is not None
    assert variant == "blocks" or learns(VARIANTS[variant])


@pytest.mark.parametrize(
    ("codec", "does"),
    [
        (Float16(), False),
        (Grouped((Float16(), Float16()), (30,)), False),
        (RareRows(Float16(), min_count=3), False),
        (Grouped((Int8(), RareRows(Float16(), min_count=3)), (30,)), True),
        (Hashed(32, codec=Float16()), True),
        (MemCom(16, Float16()), True),
    ],
    ids=repr,
)
def test_codecs_of_float16_learn_where_there_is_more_in_them(codec: Codec, does: bool) -> None:
    layer = codec.encode(table(), COUNTS, fields=FIELDS).layer("table")
    assert learns(codec) == layer.learns == (layer.tuned(table()) is not None) == does


def test_gradients_pass_the_rounding_and_stop_at_the_ends() -> None:
    """A step learns `q - w/s` inside and the end of the grid outside; here by its logarithm, so times the step."""
    rows = np.array([[0.2, 0.6, 5.0, -7.0]], np.float32)
    twin = TunedIntegers(rows, np.array([0.5], np.float32), which=lambda steps, _: steps, offset=1.5, top=3)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(twin(tf.constant([0])))
    by_row, by_step = tape.gradient(total, [twin.rows, twin.changes])
    assert tf.convert_to_tensor(by_row).numpy().tolist() == [[1.0, 1.0, 0.0, 0.0]]
    inside = (0.5 - 0.4) + (1.5 - 1.2)
    np.testing.assert_allclose(by_step.numpy(), [0.5 * (inside + 1.5 - 1.5)], rtol=1e-5)


@pytest.mark.parametrize(("variant", "weights"), [("a row", ["rows"]), ("scales in float16", ["rows", "changes"])])
def test_the_gradient_touches_only_rows_that_were_asked_for(variant: str, weights: list[str]) -> None:
    twin = lookup(variant).tuned(table())
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(twin(tf.constant([[3, 9]])) ** 2)
    for gradient in tape.gradient(total, [getattr(twin, name) for name in weights]):
        assert isinstance(gradient, tf.IndexedSlices) and sorted(gradient.indices.numpy().tolist()) == [3, 9]
        assert np.abs(gradient.values.numpy()).max() > 0


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name.startswith(("products", "sums"))])
def test_settling_points_rows_at_what_is_nearest_by_now(variant: str) -> None:
    """Rows are moved to other rows' places: their codes follow, and nothing else does."""
    layer, rows = lookup(variant), table()
    moved = rows.copy()
    moved[:40] = rows[:40][::-1]
    twin = layer.tuned(moved)
    before = layer.filled(layer.after(twin)).table()
    twin.settle()
    after = layer.filled(layer.after(twin)).table()
    unsettled, settled = (np.square(found - moved).sum() for found in (before, after))
    assert settled < 0.8 * unsettled and not np.array_equal(after[:40], before[:40])


def test_centroids_learn_from_what_points_at_them() -> None:
    twin = VARIANTS["products"].encode(table()).layer("table").tuned(table())
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(twin(tf.constant([7])))
    rows, centroids = tape.gradient(total, [twin.rows, twin.codebooks])
    assert tf.convert_to_tensor(rows).numpy().sum() == WIDTH
    assert np.count_nonzero(tf.convert_to_tensor(centroids).numpy().any(axis=1)) == 3


def test_straight_through_is_the_rounded_value() -> None:
    value: Any = tf.constant([0.4, 1.6])
    assert straight_through(value, tf.round(value)).numpy().tolist() == [0.0, 2.0]


@pytest.mark.parametrize("codec", [Int4(grid="mid-rise"), RowwiseLookup(4)], ids=repr)
def test_rows_of_zeros_stay_zeros(codec: Codec) -> None:
    twin = codec.encode(table()).layer("table").tuned(table())
    for _ in range(2):  # its step is zero: what it holds now, and what it would have learned
        assert not twin(tf.constant([5])).numpy().any()
        twin.rows.assign_add(np.ones((ROWS, WIDTH), np.float32))


def test_masks_are_those_of_the_lookup() -> None:
    layer = Int4().encode(table()).layer("table", mask_zero=True)
    twin = layer.tuned(table())
    assert twin.compute_mask(np.array([0, 1])).numpy().tolist() == [False, True]
    assert lookup("a row").tuned(table()).compute_mask(np.array([0, 1])) is None
