"""Groups of units that one choice is made among: all of a layer, or of layers that are coupled."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from tfshop.compression.units.ledger import Ledger

Members = list[tuple[str, frozenset[int]]]  # owner, and those of its atoms that are of one kind


@dataclass(frozen=True)
class Group:
    """Atoms that stand beside each other.

    Attributes:
        kind: "unit", "head" or "expert".
        atoms: In the order they were made.
        owners: Layers that make the elements.
        floors: For each series of elements, its atoms of this group: at least one of them has to stay.
    """

    kind: str
    atoms: tuple[int, ...]
    owners: tuple[str, ...]
    floors: tuple[frozenset[int], ...]

    @property
    def name(self) -> str:
        """The first of the owners, and how many more there are."""
        return self.owners[0] if len(self.owners) == 1 else f"{self.owners[0]} and {len(self.owners) - 1} more"


def groups(ledger: Ledger) -> tuple[Group, ...]:
    """All atoms that may go, by kind and by the layers that make them; those of a series belong together."""
    free = set(ledger.free_atoms())
    rows: list[tuple[str, Members]] = []
    for series in ledger.series:
        atoms = frozenset().union(*ledger.resolved(series.entries)) & free
        for kind in sorted({ledger.kind(atom) for atom in atoms}):
            members = frozenset(atom for atom in atoms if ledger.kind(atom) == kind)
            rows.append((kind, [(series.owner, members)]))
    merged: list[tuple[str, Members]] = []
    for kind, own in rows:
        touching = [row for row in merged if row[0] == kind and _meet(row[1], own)]
        merged = [row for row in merged if row not in touching]
        merged.append((kind, [pair for row in touching for pair in row[1]] + own))
    return tuple(_group(kind, own) for kind, own in merged)


def _meet(one: Members, other: Members) -> bool:
    return any(not left.isdisjoint(right) for _, left in one for _, right in other)


def _group(kind: str, members: Members) -> Group:
    atoms = sorted(frozenset().union(*(floor for _, floor in members)))
    floors: dict[str, frozenset[int]] = defaultdict(frozenset)
    for owner, floor in members:
        floors[owner] |= floor
    # an expert's own layers hold nothing but that expert, and go with it
    bounds = [floor for floor in floors.values() if len(floor) > 1 or kind == "unit"]
    return Group(kind, tuple(atoms), tuple(floors), tuple(dict.fromkeys(bounds or [frozenset(atoms)])))
