"""Which codec for which field within so many bytes: losses, bytes, and the frontier between them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tfshop.compression._table_parts import Parts, num_lookups
from tfshop.compression._table_slopes import Sample, loss_of
from tfshop.numerics.multiple_choice import Shared, best_choices
from tfshop.tables import Codec

Choice = tuple[int, int]  # number of a field and of a codec of the menu
FARTHEST = 8.0  # that a trial may correct an estimate by
SLACK = 0.1  # of the loss, for fewer codecs
NEAR = (0.7, 0.85, 1.0, 1.2, 1.5)  # budgets whose choices are tried, in shares of the one asked for


@dataclass(frozen=True)
class Point:
    """One codec a field.

    Attributes:
        chosen: Numbers of codecs of the menu, one a field.
        num_bytes: Of the tables in a file exactly, and of the operators of lookups beyond the first of each layer.
        loss: Cross-entropy that it is expected to cost.
    """

    chosen: tuple[int, ...]
    num_bytes: int
    loss: float


@dataclass(frozen=True, eq=False)
class Allocation:
    """The choices, their bytes and what each is expected to cost.

    Attributes:
        parts: Fields.
        menu: Codecs, rows as they are last.
        changes: What the choices that save bytes change in the scores of a sample, see `Slopes.changes`; none in
            `check`, where only bytes are asked for.
    """

    parts: Parts
    menu: tuple[Codec, ...]
    changes: Mapping[Choice, NDArray[np.float32]]

    @property
    def kept(self) -> int:
        """The choice of rows as they are."""
        return len(self.menu) - 1

    def saving(self) -> Iterator[Choice]:
        """Choices of fewer bytes than rows as they are: alone, or in the lookup that other fields have anyway."""
        layers = [part.layer for part in self.parts.each]
        for i, sizes in enumerate(self._sizes):
            apart = self.parts.lookup_bytes if layers.count(layers[i]) > 1 else 0  # what rows as they are look up with
            for c in range(self.kept):
                if sizes[c] < sizes[-1] or self.parts.bytes_added(i, self.menu[c]) < sizes[-1] + apart:
                    yield i, c

    def codecs(self, chosen: Sequence[int]) -> list[Codec]:
        """One a field."""
        return [self.menu[choice] for choice in chosen]

    def point(self, chosen: Sequence[int]) -> Point:
        """Bytes and loss of choices."""
        loss = sum(loss_of(self.changes[pair]) for pair in enumerate(chosen) if pair in self.changes)
        return Point(tuple(chosen), self.parts.num_bytes(self.codecs(chosen)), loss)

    def smallest(self) -> Point:
        """Fewest bytes."""
        best = self.point([int(np.argmin(own)) for own in self._sizes])
        allowed = set(self.saving())
        layers = [part.layer for part in self.parts.each]
        for layer in dict.fromkeys(layers):
            for c in range(len(self.menu)):  # one codec for the layer: what its fields share is there once
                own = [
                    (c if (i, c) in allowed else self.kept) if layers[i] == layer else best.chosen[i]
                    for i in range(len(layers))
                ]
                best = min(best, self.point(own), key=lambda point: point.num_bytes)
        return best

    def within(self, most: int, without: Collection[int] = ()) -> Point | None:
        """The least expected loss in so many bytes; None where nothing fits.

        Args:
            most: Bytes.
            without: Codecs of the menu that no field may have.
        """
        shared, alone, first = self._shared, self._costs, self.parts.first_lookups
        paid = {member: one.size for one in shared for member in one.members}
        own = [[size - paid.get((i, c), 0) for c, size in enumerate(sizes)] for i, sizes in enumerate(alone)]
        losses = [[np.inf if c in without else loss for c, loss in enumerate(row)] for row in self._losses]
        left = most + first
        while (chosen := best_choices(losses, own, left, shared)) is not None:
            found = self.point(chosen)
            if found.num_bytes <= most:
                return found
            left -= found.num_bytes - most  # what lookups share depends a little on how many rows they have
        chosen = best_choices(losses, alone, most + first)
        if chosen is None and without:
            return None
        found = self.smallest() if chosen is None else self.point(chosen)
        return found if found.num_bytes <= most else None

    def lean(self, best: Point, most: int) -> Point:
        """As good but for a tenth of the loss, with as few codecs as that takes.

        Each codec of a layer is a lookup more: operators in the file, and time.
        """
        found, without = best, set(range(len(self.menu))) - set(best.chosen)
        while True:
            tried = {c: self.within(most, without | {c}) for c in set(found.chosen)}
            fine = {c: point for c, point in tried.items() if point and point.loss <= best.loss * (1 + SLACK)}
            if not fine:
                return found
            least = min(fine, key=lambda c: fine[c].loss)
            found = fine[least]
            without.add(least)

    def ladder(self, steps: int) -> list[Point]:
        """Solutions for rising budgets; each costs less than the one before."""
        low, high = self.smallest().num_bytes, self.point([self.kept] * len(self.parts.each)).num_bytes
        rungs = [self.within(int(most)) for most in np.unique(np.geomspace(low, high, steps).round().astype(np.int64))]
        found: list[Point] = []
        for point in sorted((p for p in rungs if p), key=lambda p: (p.num_bytes, p.loss)):
            if not found or point.loss < found[-1].loss:
                found.append(point)
        return found

    def finalists(self, most: int) -> list[Choice]:
        """Codecs of fields which do not keep one and the same codec for all budgets around."""
        near = [point.chosen for share in NEAR if (point := self.within(round(most * share)))]
        choices = [sorted({chosen[i] for chosen in near}) for i in range(len(self.parts.each))]
        return [(i, c) for i, own in enumerate(choices) if len(own) > 1 for c in own if (i, c) in self.changes]

    def corrected(self, tried: Mapping[Choice, float]) -> Allocation:
        """Losses as they were tried; the rest is scaled as the tried codecs of the field, or of all fields, were."""
        factors = {pair: _factor(loss, loss_of(self.changes[pair])) for pair, loss in tried.items()}
        typical = _middle(list(factors.values()))
        by_field = {i: _middle([f for (j, _), f in factors.items() if j == i], typical) for i, _ in self.changes}
        return replace(
            self,
            changes={
                pair: own * np.float32(np.sqrt(factors.get(pair, by_field[pair[0]])))
                for pair, own in self.changes.items()
            },
        )

    def auc_drop(self, point: Point, sample: Sample) -> float:
        """Expected from the changes of all fields together."""
        changes = [self.changes[pair] for pair in enumerate(point.chosen) if pair in self.changes]
        return sample.auc_drop(np.sum(changes, axis=0)) if changes else 0.0

    @cached_property
    def _sizes(self) -> list[list[int]]:
        """Bytes of each field by each codec, alone."""
        return [[self.parts.bytes_alone(part, codec) for codec in self.menu] for part in self.parts.each]

    @cached_property
    def _costs(self) -> list[list[int]]:
        """The same with the operators of a lookup for each."""
        operators = [num_lookups(codec) * self.parts.lookup_bytes for codec in self.menu]
        return [[size + own for size, own in zip(sizes, operators, strict=True)] for sizes in self._sizes]

    @cached_property
    def _shared(self) -> list[Shared]:
        return self.parts.shared(self.menu)

    @cached_property
    def _losses(self) -> list[list[float]]:
        fields, kept = range(len(self.parts.each)), self.kept
        losses = {pair: loss_of(changes) for pair, changes in self.changes.items()}
        return [[0.0 if c == kept else losses.get((i, c), np.inf) for c in range(kept + 1)] for i in fields]


def _factor(tried: float, expected: float) -> float:
    return float(np.clip(tried / expected, 1 / FARTHEST, FARTHEST)) if expected > 0 else 1.0


def _middle(factors: Sequence[float], otherwise: float = 1.0) -> float:
    return float(np.exp(np.mean(np.log(factors)))) if len(factors) else otherwise
