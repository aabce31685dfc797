"""Zeros lie where a pattern lets them."""

from __future__ import annotations

import numpy as np
import pytest

from tfshop.compression.patterns import Pattern
from tfshop.errors import PlanError


def test_groups_keep_the_best_of_each_column_also_where_the_last_group_is_not_full() -> None:
    scores = np.array([[4.0, 1.0], [3.0, 2.0], [2.0, 3.0], [1.0, 4.0], [0.0, 9.0], [5.0, 8.0], [6.0, 7.0]])
    kept = Pattern.parse("2:4").protected(scores)
    np.testing.assert_array_equal(kept[:4], [[1, 0], [1, 0], [0, 1], [0, 1]])
    np.testing.assert_array_equal(kept[4:], [[0, 1], [1, 1], [1, 0]])


def test_blocks_are_pooled_and_spread_also_at_ragged_edges() -> None:
    pattern = Pattern.parse("block 2x3")
    scores = np.arange(20.0).reshape(5, 4)
    means, sizes = pattern.pooled(scores)
    np.testing.assert_array_equal(sizes, [[6, 2], [6, 2], [3, 1]])
    assert means[0, 0] == scores[:2, :3].mean() and means[2, 1] == scores[4, 3]
    chosen = np.array([[True, False], [False, True], [True, False]])
    spread = pattern.spread(chosen, scores.shape)
    assert spread.shape == (5, 4) and spread[:2, :3].all() and not spread[:2, 3].any() and spread[2:4, 3].all()


def test_what_is_gone_costs_a_block_nothing_and_a_block_without_anything_left_comes_first() -> None:
    scores = np.array([[4.0, -np.inf, 1.0], [-np.inf, 2.0, 1.0], [-np.inf, -np.inf, -np.inf]])
    means, sizes = Pattern.parse("block 2x2").pooled(scores)
    np.testing.assert_array_equal(means, [[1.5, 1.0], [-np.inf, -np.inf]])
    np.testing.assert_array_equal(sizes, [[4, 2], [2, 1]])


def test_shares_follow_from_groups_alone() -> None:
    assert Pattern.parse("1:4").share == 0.75
    assert Pattern.parse("block 4x4").share is None and Pattern.parse("unstructured").share is None


@pytest.mark.parametrize("text", ["4:2", "0:4", "2:2", "4x4", "block 1x1", "block 0x4", "dense", "", 3])
def test_other_patterns_are_refused(text: object) -> None:
    with pytest.raises(PlanError, match=r"pattern is .*Expected 'unstructured', 'n:m'.*Fix:"):
        Pattern.parse(text)  # type: ignore[arg-type]
