"""One choice an item within a budget, against all combinations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tfshop.numerics.multiple_choice import Shared, best_choices, size_of

Problem = tuple[list[list[float]], list[list[int]], list[Shared]]


def problem(seed: int, *, shares: bool, scale: int = 1) -> Problem:
    """Up to five items of up to five choices; some are forbidden, bytes may be shared."""
    random = np.random.default_rng(seed)
    counts = random.integers(1, 6, random.integers(1, 6))
    losses = [list(random.exponential(1e-5, count)) for count in counts]
    sizes = [[int(size) for size in random.integers(0, 1000, count) * scale + 7] for count in counts]
    for own in losses:
        if len(own) > 2:
            own[1] = np.inf
    members = [(item, choice) for item, own in enumerate(losses) for choice in range(len(own))]
    drawn = [[members[i] for i in np.flatnonzero(random.random(len(members)) < 0.4)] for _ in range(2 * shares)]
    return losses, sizes, [Shared(int(random.integers(50, 900)) * scale, tuple(own)) for own in drawn]


def every(losses: list[list[float]], sizes: list[list[int]], shared: list[Shared]) -> list[tuple[float, int]]:
    """Loss and bytes of all combinations."""
    found = []
    for chosen in itertools.product(*(range(len(own)) for own in losses)):
        loss = sum(losses[item][choice] for item, choice in enumerate(chosen))
        if np.isfinite(loss):
            found.append((loss, size_of(chosen, sizes, shared)))
    return found


@pytest.mark.parametrize("shares", [False, True])
@pytest.mark.parametrize("scale", [1, 1_000_003])
def test_no_combination_within_the_budget_is_better(shares: bool, scale: int) -> None:
    kept = 0
    for seed in range(12):
        losses, sizes, shared = problem(seed, shares=shares, scale=scale)
        combinations = every(losses, sizes, shared)
        largest = max(size for _, size in combinations)
        for most in np.random.default_rng(seed).integers(0, largest + 2, 3):
            fitting = [loss for loss, size in combinations if size <= most]
            found = best_choices(losses, sizes, int(most), shared)
            assert (found is None) == (not fitting)
            if found is not None:
                kept += 1
                assert size_of(found, sizes, shared) <= most
                assert sum(losses[i][c] for i, c in enumerate(found)) == pytest.approx(min(fitting), rel=1e-6)
    assert kept > 15


def test_a_budget_is_met_to_the_byte() -> None:
    losses, sizes = [[0.0, 1.0, 5.0], [0.0, 4.0, 9.0]], [[800_000_001, 4, 1], [8, 4, 1]]
    assert best_choices(losses, sizes, 800_000_009) == (0, 0)
    assert best_choices(losses, sizes, 800_000_008) == (1, 0)
    assert best_choices(losses, sizes, 2) == (2, 2) and best_choices(losses, sizes, 1) is None


def test_what_is_shared_is_paid_once() -> None:
    losses, sizes = [[0.0, 1.0]] * 3, [[10, 100]] * 3
    shared = [Shared(200, ((0, 0), (1, 0), (2, 0)))]
    assert best_choices(losses, sizes, 230, shared) == (0, 0, 0)
    assert best_choices(losses, sizes, 229, shared) is None
    assert size_of((0, 1, 1), sizes, shared) == 410
