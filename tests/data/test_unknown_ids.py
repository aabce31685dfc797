"""Ids of training that are read as unknown, as often as later rows have unknown ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tfshop.data import IdFeature, NumericFeature, Schema, Splits, TimeSplit, prepare
from tfshop.data.opening import read_table
from tfshop.data.unknown_ids import as_unknown, unknown_more_often

NEW_ITEMS = 0.25  # of the rows from the sixth day on


@pytest.fixture(scope="module")
def data() -> Splits:
    """Synthetic: items of which a quarter are new after training, shops that stay the same."""
    random = np.random.default_rng(0)
    day = np.arange(4000) * 10 // 4000
    new = (day >= 6) & (random.random(4000) < NEW_ITEMS)
    item = np.where(new, 100 + random.integers(0, 50, 4000), random.integers(0, 50, 4000))
    columns = {"item": item.astype(str), "shop": random.integers(0, 8, 4000).astype(str), "price": random.random(4000)}
    table = read_table(pa.table({**columns, "day": day, "clicked": random.random(4000) < 0.3}))
    features = [IdFeature("item"), IdFeature("shop"), NumericFeature("price")]
    return prepare(
        table, Schema(features, target="clicked"), split=TimeSplit("day", validation=6, test=8), batch_size=64
    )


def test_an_item_is_forgotten_as_often_as_validation_has_new_ones(data: Splits) -> None:
    item, shop = unknown_more_often(data.train, data.validation)
    assert shop == 0.0
    assert item == np.mean(data.validation.inputs["ids"][:, 0] == 0) == pytest.approx(NEW_ITEMS, abs=0.04)
    assert not unknown_more_often(data.validation, data.train).any()


def test_of_those_that_are_known_so_many_are_forgotten_that_shares_are_equal(data: Splits) -> None:
    now, ids = data.validation, data.validation.inputs["ids"]
    later = replace(now, inputs={**now.inputs, "ids": np.where(np.arange(len(ids))[:, None] % 2, ids, 0)})
    chances = unknown_more_often(now, later)
    before, after = (np.mean(split.inputs["ids"] == 0, axis=0) for split in (now, later))
    assert 0.2 < before[0] < 0.3 and after[0] > 0.55
    np.testing.assert_allclose(before + (1 - before) * chances, after)


def test_only_ids_of_the_column_are_read_as_unknown(data: Splits) -> None:
    packed = dict(data.train.inputs)
    found = as_unknown(packed, np.array([0.3, 0.0]), (5, 0, 0))
    changed = found["ids"] != packed["ids"]
    assert not changed[:, 1].any() and changed[:, 0].mean() == pytest.approx(0.3, abs=0.03)
    assert (found["ids"][changed] == 0).all() and found["ids"].dtype == packed["ids"].dtype
    assert found["numeric"] is packed["numeric"]
    assert as_unknown(packed, np.zeros(2), (5, 0, 0)) is packed


def test_each_epoch_forgets_others_and_a_batch_is_the_same_wherever_reading_begins(data: Splits) -> None:
    how = {"shuffle": True, "seed": 3, "repeat": True, "unknown": np.array([0.5, 0.0])}
    steps = data.train.num_batches
    batches = [x["ids"].numpy() for x, _ in data.train.batches(**how).take(2 * steps)]
    late = [x["ids"].numpy() for x, _ in data.train.batches(**how, first_epoch=1, skip=2).take(3)]
    usual = [x["ids"].numpy() for x, _ in data.train.batches(shuffle=True, seed=3, repeat=True).take(2 * steps)]
    for one, other in zip(batches[steps + 2 : steps + 5], late, strict=True):
        np.testing.assert_array_equal(one, other)
    forgotten = {tuple(batch[:, 0] == 0) for batch in batches}
    assert len(forgotten) == 2 * steps  # neither each batch of an epoch alike, nor each epoch
    for batch, full in zip(batches, usual, strict=True):
        np.testing.assert_array_equal(batch[:, 1], full[:, 1])
        assert ((batch[:, 0] == 0) | (batch[:, 0] == full[:, 0])).all()


def test_networks_with_an_input_a_feature_read_the_same(data: Splits) -> None:
    from tfshop.data.schema import InputSpec

    how = {"unknown": np.array([0.5, 0.0])}
    packed = next(iter(data.train.batches(**how)))[0]["ids"].numpy()
    apart = next(iter(data.train.batches(**how, inputs={"item": InputSpec((1,), "int32")})))[0]["item"].numpy()
    np.testing.assert_array_equal(apart[:, 0], packed[:, 0])
    assert 0 < np.mean(packed[:, 0] == 0) < 1


def test_a_log_without_ids_has_nothing_to_forget(kinds: dict[str, Splits]) -> None:
    data = kinds["numerics"]
    assert unknown_more_often(data.train, data.validation).shape == (0,)
    plain, asked = (
        next(iter(data.train.batches(unknown=unknown)))[0]["numeric"].numpy() for unknown in (None, np.zeros(0))
    )
    np.testing.assert_array_equal(plain, asked)
