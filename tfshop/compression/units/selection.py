"""Which units go: the lowest scores, of each group or of all, down to a share or to a budget of multiplications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tfshop.compression.units.following import Kept
from tfshop.compression.units.groups import Group
from tfshop.compression.units.trace import Trace

SCOPES = ("local", "global")
BISECTIONS = 20


@dataclass(frozen=True)
class Limits:
    """What is not gone below.

    Args:
        scope: "local": the same share of every group; "global": one ranking, each group's scores over their mean.
        minimum: Units that stay of each layer; one head and one expert do.
        multiple_of: Widths are rounded up to a multiple of this, where they were one before.
    """

    scope: str = "local"
    minimum: int = 4
    multiple_of: int = 1


def choose(groups: Sequence[Group], scores: Mapping[int, float], share: float, limits: Limits) -> frozenset[int]:
    """The atoms that go when a share of all should."""
    if limits.scope == "local":
        wanted = {group: int(share * len(group.atoms) + 0.5) for group in groups}
        orders = {group: _ascending(group.atoms, scores) for group in groups}
        return frozenset(atom for group in groups for atom in _taken([group], orders[group], wanted[group], limits))
    relative: dict[int, float] = {}
    for group in groups:
        mean = float(np.mean([scores[atom] for atom in group.atoms])) or 1.0
        relative.update({atom: scores[atom] / mean for atom in group.atoms})
    everyone = _ascending([atom for group in groups for atom in group.atoms], relative)
    taken = _taken(groups, everyone, int(share * len(everyone) + 0.5), limits)
    return frozenset(taken)


def choose_for_budget(
    trace: Trace, groups: Sequence[Group], scores: Mapping[int, float], budget: float, limits: Limits
) -> frozenset[int]:
    """The fewest atoms whose going brings the multiplications down to a budget; all that may go where none do."""
    low, high = 0.0, 1.0
    best = choose(groups, scores, high, limits)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        tried = choose(groups, scores, middle, limits)
        if multiplications(trace, tried) <= budget:
            best, high = tried, middle
        else:
            low = middle
    return best


def multiplications(trace: Trace, removed: frozenset[int] = frozenset()) -> int:
    """Multiplications with weights that one row takes; those of lookups are none."""
    kept = Kept(trace.ledger, removed)
    return sum(product.count(kept) for product in trace.products)


def _ascending(atoms: Sequence[int], scores: Mapping[int, float]) -> list[int]:
    return sorted(atoms, key=lambda atom: (scores[atom], atom))


def _taken(groups: Sequence[Group], order: Sequence[int], wanted: int, limits: Limits) -> list[int]:
    """The first atoms of an order that may go, rounded so that widths stay multiples."""
    group_of = {atom: group for group in groups for atom in group.atoms}
    room = {
        floor: len(floor) - (max(1, limits.minimum) if group.kind == "unit" else 1)
        for group in groups
        for floor in group.floors
    }
    taken: list[int] = []
    for atom in order:
        if len(taken) >= wanted:
            break
        touched = [floor for floor in group_of[atom].floors if atom in floor]
        if all(room[floor] > 0 for floor in touched):
            taken.append(atom)
            for floor in touched:
                room[floor] -= 1
    for group in groups:
        taken = _rounded(group, taken, limits.multiple_of)
    return taken


def _rounded(group: Group, taken: list[int], multiple_of: int) -> list[int]:
    """Without the last of a group's atoms that would leave a width between two multiples."""
    if group.kind != "unit" or multiple_of == 1:
        return taken
    members = frozenset(group.atoms)
    own = [atom for atom in taken if atom in members]
    for floor in group.floors:
        gone = [atom for atom in own if atom in floor]
        width = len(floor) - len(gone)
        back = frozenset(gone[len(gone) - min(-width % multiple_of, len(gone)) :])
        own = [atom for atom in own if atom not in back]
    stay = members.difference(own)
    return [atom for atom in taken if atom not in stay]
