"""Widths that stay multiples of a number, of groups of any make."""

from __future__ import annotations

from time import perf_counter

import numpy as np
import pytest

from tfshop.compression.units.groups import Group
from tfshop.compression.units.selection import Limits, choose

SECONDS = 2.0  # a comparison of every unit with every other takes ten times as long


def random_groups(seed: int) -> list[Group]:
    """Groups of units with floors that overlap, and one of heads."""
    random = np.random.default_rng(seed)
    made: list[Group] = []
    start = 0
    for number in range(4):
        atoms = tuple(range(start, start + int(random.integers(3, 40))))
        start += len(atoms)
        parts = [frozenset(atom for atom in atoms if random.random() < 0.7) for _ in range(random.integers(0, 3))]
        floors = tuple(dict.fromkeys([frozenset(atoms), *(part for part in parts if len(part) > 1)]))
        made.append(Group("head" if number == 3 else "unit", atoms, (f"layer_{number}",), floors))
    return made


def rounded(group: Group, gone: frozenset[int], scores: dict[int, float], multiple_of: int) -> frozenset[int]:
    """What goes of a group, floor by floor: those of the highest scores come back until a width is a multiple."""
    for floor in group.floors:
        ascending = sorted(gone & floor, key=lambda atom: (scores[atom], atom))
        while ascending and (len(floor) - len(ascending)) % multiple_of:
            gone -= {ascending.pop()}
    return gone


@pytest.mark.parametrize("scope", ["local", "global"])
@pytest.mark.parametrize("multiple_of", [2, 5, 8])
def test_the_most_important_units_come_back_until_a_width_is_a_multiple(scope: str, multiple_of: int) -> None:
    changed = 0
    for seed in range(25):
        groups = random_groups(seed)
        random = np.random.default_rng(seed)
        scores = {atom: float(random.integers(0, 9)) for group in groups for atom in group.atoms}
        freely = choose(groups, scores, 0.6, Limits(scope, minimum=2))
        found = choose(groups, scores, 0.6, Limits(scope, minimum=2, multiple_of=multiple_of))
        parts = [
            rounded(group, freely.intersection(group.atoms), scores, multiple_of)
            if group.kind == "unit"
            else freely.intersection(group.atoms)
            for group in groups
        ]
        assert found == frozenset().union(*parts)
        changed += found != freely
    assert changed > 10


def test_rounding_a_wide_group_takes_no_time() -> None:
    atoms = tuple(range(20_000))
    group = Group("unit", atoms, ("wide",), (frozenset(atoms),))
    started = perf_counter()
    gone = choose([group], dict.fromkeys(atoms, 1.0), 0.5, Limits(multiple_of=7))
    assert perf_counter() - started < SECONDS
    assert (len(atoms) - len(gone)) % 7 == 0
