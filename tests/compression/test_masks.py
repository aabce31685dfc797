"""Masks take what matters least, as much as was asked, and where the pattern lets them."""

from __future__ import annotations

import numpy as np
import pytest

from tfshop.compression.masks import Choice, Group, shares_below
from tfshop.compression.patterns import Pattern
from tfshop.compression.thresholds import Threshold

RANDOM = np.random.default_rng(0)
SCORES = {"small": RANDOM.random((20, 10)), "large": 1000 * RANDOM.random((30, 10))}
APART = (Group(("small",), 0.5), Group(("large",), 0.2))
TOGETHER = (Group(("small", "large"), 0.4),)


def zeros(masks: dict[str, np.ndarray]) -> dict[str, float]:
    return {name: 1 - mask.mean() for name, mask in masks.items()}


def test_each_kernel_loses_its_own_share() -> None:
    masks = Choice(APART).masks(SCORES)
    assert zeros(masks) == pytest.approx({"small": 0.5, "large": 0.2})
    assert SCORES["small"][masks["small"]].min() > SCORES["small"][~masks["small"]].max()


def test_one_threshold_over_all_takes_the_small_kernel_first_and_leaves_it_one_weight() -> None:
    masks = Choice(TOGETHER).masks(SCORES)
    assert masks["small"].sum() == 1 and masks["small"].flat[SCORES["small"].argmax()]
    gone = sum((~mask).sum() for mask in masks.values())
    assert gone == 0.4 * 500 and SCORES["large"][masks["large"]].min() > SCORES["large"][~masks["large"]].max()


def test_a_level_is_a_part_of_the_way() -> None:
    assert zeros(Choice(APART).masks(SCORES, 0.5)) == pytest.approx({"small": 0.25, "large": 0.1})
    assert all(mask.all() for mask in Choice(APART).masks(SCORES, 0.0).values())


def test_what_is_gone_stays_gone() -> None:
    first = Choice(APART).masks(SCORES, 0.5)
    other = {name: np.where(first[name], RANDOM.random(values.shape), -np.inf) for name, values in SCORES.items()}
    second = Choice(APART).masks(other)
    assert all((second[name] <= first[name]).all() for name in SCORES)
    assert zeros(second) == pytest.approx({"small": 0.5, "large": 0.2})


@pytest.mark.parametrize("level", [0.3, 1.0])
def test_groups_lose_the_same_in_the_end_and_no_more_on_the_way(level: float) -> None:
    masks = Choice((Group(("large",), 0.5),), Pattern.parse("2:4")).masks(SCORES, level)
    kept = masks["large"][:28].reshape(7, 4, 10).sum(axis=1)
    assert (kept >= 2).all() and zeros(masks)["large"] == pytest.approx(0.5 * level, abs=0.04)
    assert level < 1 or (kept == 2).all()


def test_blocks_go_whole() -> None:
    pattern = Pattern.parse("block 4x4")
    mask = Choice((Group(("large",), 0.5),), pattern).masks(SCORES)["large"]
    means, _ = pattern.pooled(mask.astype(float))
    assert set(np.unique(means)) == {0.0, 1.0} and 1 - mask.mean() == pytest.approx(0.5, abs=0.03)


def test_blocks_go_by_what_is_left_in_them() -> None:
    """Among zeros that lie anywhere, nearly every block has one."""
    left = RANDOM.random((48, 32)) < 0.5
    left[:4, 28:] = False
    scores = RANDOM.random(left.shape) * np.repeat(np.repeat(RANDOM.random((12, 8)), 4, axis=0), 4, axis=1)
    mask = Choice((Group(("one",), 0.5),), Pattern.parse("block 4x4")).masks({"one": np.where(left, scores, -np.inf)})
    kept = mask["one"][::4, ::4]
    worth = np.where(left, scores, 0.0).reshape(12, 4, 8, 4).sum(axis=(1, 3))
    assert kept.sum() == 48 and not kept[0, 7] and worth[kept].min() > worth[~kept].max()


def test_chance_takes_what_is_gone_before_what_scores_nothing() -> None:
    gone = np.zeros((20, 10), np.bool_)
    gone[10:] = True
    scores = {"one": np.where(gone, -np.inf, np.where(RANDOM.random(gone.shape) < 0.5, 0.0, 1.0))}
    mask = Choice((Group(("one",), 0.5),), randomness=1.0).masks(scores)["one"]
    np.testing.assert_array_equal(mask, ~gone)
    more = Choice((Group(("one",), 0.6),), randomness=1.0).masks(scores)["one"]
    assert (scores["one"][~gone & ~more] == 0).all() and (~more).sum() == 120


def test_chances_follow_importance_and_the_seed() -> None:
    groups = (Group(("large",), 0.5),)
    drawn = [Choice(groups, randomness=1.0, seed=seed).masks(SCORES)["large"] for seed in range(60)]
    assert {int(mask.sum()) for mask in drawn} == {150}
    np.testing.assert_array_equal(drawn[3], Choice(groups, randomness=1.0, seed=3).masks(SCORES)["large"])
    assert not np.array_equal(drawn[0], drawn[1])
    stays = np.mean(drawn, axis=0)
    order = np.argsort(SCORES["large"], axis=None)
    fifths = [part.mean() for part in np.array_split(stays.flat[order], 5)]
    assert fifths == sorted(fifths) and fifths[0] < 0.3 and 0.65 < fifths[-1] < 1.0
    nearly = Choice(groups, randomness=0.01, seed=1).masks(SCORES)["large"]
    assert (nearly == Choice(groups).masks(SCORES)["large"]).mean() > 0.95


def test_shares_below_a_threshold_are_counted_for_each_kernel_or_for_all() -> None:
    threshold = Threshold("max", 0.3)
    apart = shares_below(threshold, SCORES, Pattern(), together=False)
    assert apart == {name: (values < 0.3 * values.max()).mean() for name, values in SCORES.items()}
    limit = 0.3 * SCORES["large"].max()
    everything = np.concatenate([values.ravel() for values in SCORES.values()])
    together = shares_below(threshold, SCORES, Pattern(), together=True)
    assert set(together.values()) == {(everything < limit).mean()}
