"""One choice for each item within a budget: what costs least, found exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from tfshop._quiet import quiet

SCALE = 1e4  # of the largest loss: the solver stops within 1e-6 of the optimum


@dataclass(frozen=True)
class Shared:
    """Bytes that are paid once, however many of its members are chosen.

    Attributes:
        size: Bytes.
        members: Pairs of an item and a choice.
    """

    size: int
    members: tuple[tuple[int, int], ...]


def best_choices(
    losses: Sequence[Sequence[float]], sizes: Sequence[Sequence[int]], most: int, shared: Sequence[Shared] = ()
) -> tuple[int, ...] | None:
    r"""One choice for each item, of the least loss in sum among those whose bytes are at most so many.

    .. math::
        \min \sum_i l_{i c_i} \quad\text{such that}\quad \sum_i b_{i c_i} + \sum_s b_s \le B

    Args:
        losses: One an item and choice, at least 0; infinite for what may not be chosen.
        sizes: Bytes, likewise.
        most: Bytes in sum.
        shared: Bytes that several choices share.

    Returns:
        The number of the choice for each item, None where nothing fits. Of equal losses rather the one of fewer bytes.

    Example:
        >>> best_choices([[0.0, 1.0, 5.0], [0.0, 4.0, 9.0]], [[8, 4, 1], [8, 4, 1]], most=12)
        (1, 0)

    References:
        Kellerer, Pferschy and Pisinger, Knapsack Problems, 2004, chapter 11 (multiple-choice knapsack).
    """
    left = most
    while (found := _solved(losses, sizes, left, shared)) is not None:
        over = size_of(found, sizes, shared) - most
        if over <= 0:
            return found
        left -= over  # the solver takes 0.999999 for one
    return None


def size_of(chosen: Sequence[int], sizes: Sequence[Sequence[int]], shared: Sequence[Shared] = ()) -> int:
    """Bytes of choices."""
    own = sum(sizes[item][choice] for item, choice in enumerate(chosen))
    return own + sum(one.size for one in shared if any(chosen[item] == choice for item, choice in one.members))


def _solved(
    losses: Sequence[Sequence[float]], sizes: Sequence[Sequence[int]], most: int, shared: Sequence[Shared]
) -> tuple[int, ...] | None:
    starts = np.cumsum([0, *(len(own) for own in losses)])
    flat = np.concatenate([np.asarray(own, dtype=np.float64) for own in losses])
    allowed = np.isfinite(flat)
    bytes_of = np.array([*(size for own in sizes for size in own), *(one.size for one in shared)], dtype=np.float64)
    largest = flat[allowed].max(initial=0.0) or 1.0
    tie = SCALE * 1e-9 * bytes_of / max(bytes_of.sum(), 1.0)
    objective = np.concatenate([np.where(allowed, flat, 0.0) * SCALE / largest, np.zeros(len(shared))]) + tie
    num = len(objective)
    one_each = coo_array((np.ones(starts[-1]), (_repeated(starts), np.arange(starts[-1]))), (len(losses), num))
    constraints = [
        LinearConstraint(one_each.tocsr(), 1, 1),
        LinearConstraint(bytes_of[None] / max(most, 1), -np.inf, most / max(most, 1)),
        *_paid(shared, starts, num),
    ]
    upper = np.concatenate([allowed.astype(float), np.ones(len(shared))])
    with quiet():  # HiGHS prints where it is at times, whatever it was asked
        answer = milp(
            objective,
            integrality=np.ones(num),
            bounds=Bounds(0, upper),
            constraints=constraints,
            options={"mip_rel_gap": 0.0},
        )
    if answer.x is None:
        return None
    return tuple(int(np.argmax(answer.x[a:b])) for a, b in pairwise(starts))


def _repeated(starts: np.ndarray) -> np.ndarray:
    return np.repeat(np.arange(len(starts) - 1), np.diff(starts))


def _paid(shared: Sequence[Shared], starts: np.ndarray, num: int) -> list[LinearConstraint]:
    """Whoever is chosen has its shared bytes paid: x - y <= 0."""
    pairs = [
        (starts[item] + choice, starts[-1] + number)
        for number, one in enumerate(shared)
        for item, choice in one.members
    ]
    if not pairs:
        return []
    rows = np.repeat(np.arange(len(pairs)), 2)
    values = np.tile([1.0, -1.0], len(pairs))
    matrix = coo_array((values, (rows, np.array(pairs).ravel())), (len(pairs), num))
    return [LinearConstraint(matrix.tocsr(), -np.inf, 0)]
