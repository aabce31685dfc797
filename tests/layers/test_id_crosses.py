"""A pair of ids is an id of its own."""

from __future__ import annotations

import numpy as np
import pytest

from tfshop.layers import IdCrosses


def all_pairs(left: int, right: int) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(left), np.arange(right), indexing="ij"), axis=-1).reshape(-1, 2).astype("i4")


def test_every_pair_has_a_row_of_its_own_where_there_is_room() -> None:
    crosses = IdCrosses([0], [1], [(30, 40)], buckets=1200)
    rows = crosses(all_pairs(30, 40)).numpy()
    assert crosses.num_rows == 1200 and sorted(rows[:, 0]) == list(range(1200))


@pytest.mark.parametrize("sizes", [(1000, 1000), (900, 3000), (3000, 900), (5000, 1009)])
def test_pairs_that_share_rows_spread_over_all_of_them(sizes: tuple[int, int]) -> None:
    """And pairs of the most frequent ids, which are the smallest, have hardly a row in common."""
    crosses = IdCrosses([0], [1], [sizes], buckets=1009 * 8)
    assert crosses.num_rows == 1009 * 8
    rows = crosses(all_pairs(*sizes)).numpy()
    counts = np.bincount(rows[:, 0], minlength=crosses.num_rows)
    assert counts.size == crosses.num_rows and counts.min() > 0.8 * counts.mean() and counts.max() < 1.3 * counts.mean()
    frequent = crosses(all_pairs(40, 40)).numpy()
    assert len(np.unique(frequent)) > 0.95 * 1600


def test_large_ids_do_not_overflow() -> None:
    """A product of ids past 2^31, as 32 bits would wrap it, is a negative row."""
    size, buckets = 40_000_000, 1_000_000
    crosses = IdCrosses([0], [1], [(size, size)], buckets=buckets)
    ids = np.int32([[size - 1, size - 1], [size - 2, 5], [0, 0]])
    rows = crosses(ids).numpy()[:, 0]
    multiplier = IdCrosses._multiplier((size, size), buckets)
    assert rows.tolist() == [(int(a) * multiplier + int(b)) % buckets for a, b in ids]


def test_crosses_lie_one_after_the_other() -> None:
    crosses = IdCrosses([0, 0], [1, 2], [(3, 4), (3, 5)], buckets=100)
    assert crosses.num_rows == 12 + 15
    rows = crosses(np.int32([[0, 0, 0], [2, 3, 4], [1, 2, 0]])).numpy()
    assert rows.tolist() == [[0, 12], [11, 26], [6, 17]]


def test_the_configuration_makes_the_same_layer_again() -> None:
    crosses = IdCrosses([1], [0], [(7, 9)], buckets=50)
    ids = all_pairs(7, 7)
    np.testing.assert_array_equal(IdCrosses.from_config(crosses.get_config())(ids), crosses(ids))
