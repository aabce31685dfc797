"""Shared directions and a length for each id."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfshop._keras import keras
from tfshop.compression import EncodeTables
from tfshop.errors import PlanError
from tfshop.export import chain, convert
from tfshop.export.plan import Plan
from tfshop.runtime import Scorer
from tfshop.tables import Grouped, Int8, MemCom
from tfshop.tables.mem_com import _nearest

random = np.random.default_rng(13)
LINES = np.linalg.qr(random.normal(size=(16, 16)))[0]
TABLE = (LINES[random.integers(0, 12, 3000)] * np.exp(random.normal(size=(3000, 1)))).astype(np.float32)
TABLE[::2] *= -1  # both ends of a line


def test_rows_on_few_lines_come_back_whatever_their_length_and_sign() -> None:
    coded = MemCom(64).encode(TABLE)
    assert coded.distortion(TABLE) < 1e-3
    assert coded.num_bytes == MemCom(64).num_bytes(3000, 16) == 2 * 3000 + 4 * 256 + 4 * 64 * 16
    rough = MemCom(64, Int8("table")).encode(TABLE)
    assert rough.num_bytes < coded.num_bytes and rough.distortion(TABLE) < 2e-3


def test_a_row_may_lie_on_the_other_end_of_a_line() -> None:
    chosen, factors = _nearest((-2 * LINES[3:6]).astype(np.float32), 4 * LINES)
    assert chosen.tolist() == [3, 4, 5] and np.allclose(factors, -0.5)


def test_more_buckets_lower_the_distortion_and_seeds_repeat() -> None:
    table = random.normal(size=(2000, 4)).astype(np.float32)
    found = [MemCom(buckets).encode(table).distortion(table) for buckets in (2, 16, 256)]
    assert found == sorted(found, reverse=True) and found[-1] < 0.06
    one, same, other = (MemCom(16).encode(table, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(one.arrays[name], same.arrays[name]) for name in one.arrays)
    assert not np.array_equal(one.arrays["shared_table"], other.arrays["shared_table"])


def test_directions_go_to_rows_that_are_seen() -> None:
    table = random.normal(size=(1000, 8)).astype(np.float32)
    counts = np.repeat([1000.0, 0.0], [40, 960])
    plain, weighted = (MemCom(32).encode(table, own) for own in (None, counts))
    assert weighted.distortion(table, counts) < 0.3 * plain.distortion(table, counts)


@pytest.mark.parametrize("shape", [(), (6,), (3, 2)])
def test_ids_of_any_shape_find_their_rows(shape: tuple[int, ...]) -> None:
    coded = MemCom(32).encode(TABLE)
    ids = keras.Input(shape, dtype="int32", name="ids")
    model = keras.Model(ids, coded.layer("table")(ids))
    some = random.integers(0, 3000, (300, *shape)).astype(np.int32)
    rows = coded.decode()[some]
    assert np.array_equal(model(some).numpy(), rows)
    assert np.array_equal(Scorer(convert(model, "float32", lambda: iter([])))({"ids": some}), rows)


def test_shared_directions_survive_json() -> None:
    plan = chain(EncodeTables(Grouped((Int8(), MemCom(16, Int8("table"))), split=(0.9,))))
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize("change", [{"buckets": 1}, {"buckets": 257}, {"buckets": 2.5}, {"codec": Int8}])
def test_settings_out_of_range_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=r"(buckets is|as a codec).*Expected.*Fix:"):
        MemCom(**change)
