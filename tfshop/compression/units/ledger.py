"""Which elements of which tensors go together: a ledger of atoms, each removed whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

Entry = frozenset[int]  # atoms: an element goes as soon as one of them goes
Axis = tuple[Entry, ...]
Axes = tuple[Axis, ...]  # of a tensor: the rows that one example has, then the axes behind the batch

NOTHING: Entry = frozenset()
# What an atom is; where two are tied, the one further back names both.
KINDS = ("unit", "head", "expert", "feature")


@dataclass(frozen=True)
class Series:
    """Elements that one layer made, such as its units or heads.

    Attributes:
        owner: Name of the layer.
        entries: One an element, as they were when they were made.
    """

    owner: str
    entries: Axis


State = tuple[list[str], dict[int, Entry], dict[int, str], set[int], list[Series]]


class Ledger:
    """Atoms, what they are tied to, and which of them have to stay.

    Example:
        >>> ledger = Ledger()
        >>> one, other = ledger.fresh(2, "one"), ledger.fresh(2, "other")
        >>> ledger.tie_axes(one, other, "added")
        >>> ledger.resolve(one[0]) == ledger.resolve(other[0])
        True
        >>> ledger.hold(one[0], "it is an output")
        >>> ledger.reason(other[0]), ledger.reason(other[1])
        ('it is an output', None)
    """

    def __init__(self) -> None:
        self._kinds: list[str] = []
        self._stands_for: dict[int, Entry] = {}
        self._reasons: dict[int, str] = {}
        self._softmaxed: set[int] = set()
        self._series: list[Series] = []

    def saved(self) -> State:
        """All that is known by now, for `rewind`."""
        return (
            list(self._kinds),
            dict(self._stands_for),
            dict(self._reasons),
            set(self._softmaxed),
            list(self._series),
        )

    def rewind(self, state: State) -> None:
        """Forget what was said since."""
        self._kinds, self._stands_for, self._reasons, self._softmaxed, self._series = state

    @property
    def series(self) -> tuple[Series, ...]:
        """All that was made, in order."""
        return tuple(self._series)

    @property
    def reasons(self) -> Mapping[int, str]:
        """Why atoms have to stay."""
        return MappingProxyType(self._reasons)

    def fresh(self, count: int, owner: str, kind: str = "unit") -> Axis:
        """Atoms of their own for the elements that a layer makes."""
        entries = tuple(frozenset({self._atom(kind)}) for _ in range(count))
        self._series.append(Series(owner, entries))
        return entries

    def _atom(self, kind: str) -> int:
        self._kinds.append(kind)
        return len(self._kinds) - 1

    def resolve(self, entry: Entry) -> Entry:
        """The atoms that an entry stands for by now."""
        if self._stands_for.keys().isdisjoint(entry):
            return entry
        found: set[int] = set()
        for atom in entry:
            if atom in self._stands_for:
                self._stands_for[atom] = self.resolve(self._stands_for[atom])
                found |= self._stands_for[atom]
            else:
                found.add(atom)
        return frozenset(found)

    def resolved(self, axis: Axis) -> Axis:
        """The entries of an axis as they stand by now."""
        return tuple(self.resolve(entry) for entry in axis)

    def kind(self, atom: int) -> str:
        """What an atom is, one of `KINDS`."""
        return self._kinds[atom]

    def features(self, entry: Entry) -> Entry:
        """The atoms of an entry that are input features."""
        return frozenset(atom for atom in self.resolve(entry) if self._kinds[atom] == "feature")

    def name_kind(self, entry: Entry, kind: str) -> None:
        """Say what atoms are."""
        for atom in self.resolve(entry):
            self._kinds[atom] = max(self._kinds[atom], kind, key=KINDS.index)

    def hold(self, entry: Entry, reason: str) -> None:
        """Have all atoms of an entry stay; the first reason is kept."""
        for atom in self.resolve(entry):
            self._reasons.setdefault(atom, reason)

    def hold_axes(self, axes: Iterable[Axis], reason: str) -> None:
        """Have all atoms of a tensor stay."""
        for axis in axes:
            for entry in axis:
                self.hold(entry, reason)

    def hold_units(self, axes: Iterable[Axis], reason: str) -> None:
        """Have all atoms of a tensor stay but features, which are meant to take what is computed from them along."""
        self.hold_axes((tuple(self.resolve(entry) - self.features(entry) for entry in axis) for axis in axes), reason)

    def reason(self, entry: Entry) -> str | None:
        """Why an element has to stay, None where it may go."""
        atoms = self.resolve(entry)
        held = [self._reasons.get(atom) for atom in sorted(atoms)]
        return next((reason for reason in held if reason is None), held[0]) if held else "nothing makes it"

    def tie(self, one: Entry, other: Entry, where: str) -> None:
        """Have two elements go together or not at all.

        Args:
            one: Entry.
            other: Entry.
            where: The layer that needs it, for the reason where it cannot be done.
        """
        one, other = self.resolve(one), self.resolve(other)
        left, right = one - other, other - one
        if right and self._is_one_unit(left):
            self._become(next(iter(left)), right)
        elif left and self._is_one_unit(right):
            self._become(next(iter(right)), left)
        elif left or right:
            self.hold(left | right, f"{where!r} couples it with what has another structure, or cannot shrink")

    def _is_one_unit(self, entry: Entry) -> bool:
        """Whether another entry may stand for this one: two features never become one."""
        return len(entry) == 1 and all(self._kinds[atom] != "feature" for atom in entry)

    def tie_axes(self, one: Axis, other: Axis, where: str) -> None:
        """Tie two axes of one length, element by element."""
        for left, right in zip(one, other, strict=True):
            if left is not right:
                self.tie(left, right, where)

    def _become(self, atom: int, entry: Entry) -> None:
        """Replace an atom; what was said about it is said about its successors."""
        self._stands_for[atom] = entry
        for successor in entry:
            if len(entry) == 1:
                self.name_kind(entry, self._kinds[atom])
            if atom in self._reasons:
                self._reasons.setdefault(successor, self._reasons[atom])
            if atom in self._softmaxed:
                self._softmaxed.add(successor)

    def grid(self, axis: Axis, num_rows: int, where: str, policy: str = "columns", kind: str = "unit") -> Axes:
        """Entries of the rows and of the columns of an axis that is a matrix laid out flat.

        Where each element has an atom of its own, whole rows or columns can only go at once:

        Args:
            axis: num_rows * num_columns entries.
            num_rows: At least 1.
            where: The layer that needs it.
            policy: What is made of atoms that belong to one element: "columns" ties those of a column, "rows" those of
                a row, "both" has a column atom and a row atom stand for each.
            kind: What a row is.

        Returns:
            (rows, columns), whose unions are the elements.
        """
        if num_rows == 1:  # what goes with a feature goes as the one row
            axis = self.resolved(axis)
            whole = self.features(frozenset.intersection(*axis) if axis else NOTHING)
            return (whole,), tuple(entry - whole for entry in axis)
        cells = self._cells(axis, num_rows)
        rows, columns, rest = _common(cells)
        if any(rest_of_row for row in rest for rest_of_row in row):
            self._settle(cells, rest, where, policy, kind)
            cells = self._cells(axis, num_rows)
            rows, columns, rest = _common(cells)
            for cell in (cell for row in rest for cell in row):
                self.hold(cell, f"{where!r} reads it as a matrix, of which it is neither a row nor a column")
        if policy != "columns":
            for row in rows:
                self.name_kind(row, kind)
        return rows, columns

    def _cells(self, axis: Axis, num_rows: int) -> tuple[Axis, ...]:
        width, resolved = len(axis) // num_rows, self.resolved(axis)
        return tuple(resolved[row * width : (row + 1) * width] for row in range(num_rows))

    def _settle(
        self, cells: Sequence[Axis], rest: Sequence[Sequence[Entry]], where: str, policy: str, kind: str
    ) -> None:
        """Tie or replace the atoms that belong to one element of the matrix."""
        if any(len(cell) > 1 for row in rest for cell in row):
            return
        if policy == "rows":
            for row in rest:
                self._tie_all(row, where)
        elif policy == "columns":
            for column in zip(*rest, strict=True):
                self._tie_all(column, where)
        else:
            self._split(cells, rest, where, kind)

    def _tie_all(self, entries: Sequence[Entry], where: str) -> None:
        for other in entries[1:]:
            self.tie(entries[0], other, where)

    def _split(self, cells: Sequence[Axis], rest: Sequence[Sequence[Entry]], where: str, kind: str) -> None:
        """A row's atom and a column's stand for each cell; rows that have an atom already keep it."""
        labelled = [bool(frozenset.intersection(*row)) for row in cells]
        columns: list[Entry] = []
        for column in zip(*rest, strict=True):
            settled = [cell for cell, done in zip(column, labelled, strict=True) if done and cell]
            self._tie_all(settled, where)
            columns.append(settled[0] if settled else frozenset({self._atom("unit")}))
        for row, done in zip(rest, labelled, strict=True):
            if not done and all(row):
                own = self._atom(kind)
                for cell, column_entry in zip(row, columns, strict=True):
                    (atom,) = self.resolve(cell)
                    self._become(atom, self.resolve(column_entry) | {own})

    def soften(self, axis: Axis) -> None:
        """Say that a softmax runs over an axis: what goes changes all that stay."""
        for entry in axis:
            self._softmaxed |= self.resolve(entry)

    @property
    def softmaxed(self) -> frozenset[int]:
        """Atoms that a softmax divides by the sum of."""
        return frozenset(self._softmaxed - set(self._stands_for))

    def free_atoms(self) -> Iterator[int]:
        """Atoms that may go."""
        held = set(self._reasons)
        return (atom for atom in range(len(self._kinds)) if atom not in self._stands_for and atom not in held)


def _common(cells: Sequence[Axis]) -> tuple[Axis, Axis, list[list[Entry]]]:
    """What the cells of each row share, those of each column, and what is left of each cell."""
    rows = tuple(frozenset.intersection(*row) if row else NOTHING for row in cells)
    columns = tuple(frozenset.intersection(*column) for column in zip(*cells, strict=True))
    rest = [
        [cell - row_entry - columns[position] for position, cell in enumerate(row)]
        for row_entry, row in zip(rows, cells, strict=True)
    ]
    return rows, columns, rest
