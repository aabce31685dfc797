"""Short rows and a projection."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.linalg import hadamard

from tfshop._keras import keras
from tfshop.compression import EncodeTables
from tfshop.errors import PlanError
from tfshop.export import chain, convert
from tfshop.export.plan import Plan
from tfshop.runtime import Scorer, read_graph
from tfshop.tables import Float32, Grouped, Int2, Int4, Int8, LowRankTable

random = np.random.default_rng(7)
FLAT = (random.normal(size=(1500, 4)) @ random.normal(size=(4, 16))).astype(np.float32)  # of rank four
TABLE = (FLAT + 0.01 * random.normal(size=FLAT.shape)).astype(np.float32)


def test_a_table_of_low_rank_loses_nothing_but_the_rounding() -> None:
    codec = LowRankTable(4, Int8())
    coded = codec.encode(TABLE)
    short = TABLE.astype(np.float64) @ np.linalg.svd(TABLE)[2][:4].T
    rounding = Int8().encode(short.astype(np.float32)).distortion(short.astype(np.float32))
    assert rounding < coded.distortion(TABLE) < rounding + 1e-4
    assert coded.num_bytes < 0.4 * Int8().num_bytes(*TABLE.shape)
    by_rank = [LowRankTable(rank).encode(TABLE).distortion(TABLE) for rank in (1, 2, 3, 4)]
    assert by_rank == sorted(by_rank, reverse=True) and by_rank[0] > 0.2


def test_directions_of_rows_that_are_seen_are_kept() -> None:
    table = np.zeros((200, 8), dtype=np.float32)
    table[:100, 0], table[100:, 1] = random.normal(size=(2, 100))
    counts = np.repeat([1000.0, 1.0], 100)
    coded = LowRankTable(1).encode(table, counts)
    assert np.allclose(coded.decode()[:100, 0], table[:100, 0], atol=0.02)
    assert coded.distortion(table, counts) < 0.01 and coded.distortion(table) > 0.3


@pytest.mark.parametrize("codec", [Int8, Int4, Int2])
@pytest.mark.parametrize("rank", [1, 7, 64])
def test_every_sum_of_products_is_exact_in_float32(codec: Any, rank: int) -> None:
    """In half steps, as codes around zero have them: whatever is added first, no sum has more than 24 bits."""
    table = (np.arange(64.0, 0, -1)[:, None] * hadamard(64)).astype(np.float32)  # no small numbers
    projection = LowRankTable(rank, codec()).encode(table).arrays["projection"].astype(np.float64)
    assert np.array_equal(projection, np.rint(projection))
    assert 2.0**codec.bits * np.abs(projection).sum(axis=1).max() <= 2**24
    assert np.abs(projection).max() >= 64


@pytest.mark.parametrize("shape", [(), (6,), (3, 2), (None,)])
@pytest.mark.parametrize("scale", ["row", "table", 32])
def test_ids_of_any_shape_give_the_same_rows_everywhere(shape: tuple[Any, ...], scale: Any) -> None:
    coded = LowRankTable(4, Int8(scale)).encode(TABLE)
    ids = keras.Input(shape, dtype="int32", name="ids")
    model = keras.Model(ids, coded.layer("table")(ids))
    some = random.integers(0, 1500, (500, *(side or 5 for side in shape))).astype(np.int32)
    rows = coded.decode()[some]
    assert np.array_equal(model(some).numpy(), rows)
    file = convert(model, "float32", lambda: iter([]))
    assert None in shape or np.array_equal(Scorer(file)({"ids": some}), rows)
    kinds = [operator.kind for operator in read_graph(file).operators]
    assert kinds.count("FULLY_CONNECTED") == 1 and "TRANSPOSE" not in kinds


def test_dimensions_mixed_by_frequency_lie_between_those_of_one_rank() -> None:
    counts = 1000 / np.arange(1.0, 1501)
    ranks = {rank: LowRankTable(rank) for rank in (1, 4)}
    mixed = Grouped((ranks[4], ranks[1]), split=(0.8,)).encode(TABLE, counts)
    high, low = (ranks[rank].encode(TABLE, counts) for rank in (4, 1))
    assert low.num_bytes < mixed.num_bytes < 0.7 * high.num_bytes
    assert high.distortion(TABLE, counts) < mixed.distortion(TABLE, counts) < 0.5 * low.distortion(TABLE, counts)


def test_low_ranks_survive_json() -> None:
    plan = chain(EncodeTables({"id_0": Grouped((Int8(), LowRankTable(3, Int4("table"))), split=(0.9,))}))
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize("change", [{"rank": 0}, {"rank": True}, {"rank": 0.5}, {"codec": Float32()}, {"codec": Int8}])
def test_what_cannot_be_projected_exactly_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=r"(rank is|as a codec).*Expected.*Fix:"):
        LowRankTable(**change)
