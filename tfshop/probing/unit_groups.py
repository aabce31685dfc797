"""Units as PruneUnits takes them: which go together, which may go at all, and the network without some."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from tfshop.compression.units.compensation import compensate
from tfshop.compression.units.following import Kept
from tfshop.compression.units.groups import Group
from tfshop.compression.units.scoring import Judge, judged_groups, unit_scores
from tfshop.compression.units.selection import Limits, choose, multiplications
from tfshop.compression.units.surgery import shrunk
from tfshop.compression.units.trace import follow
from tfshop.data.split import Splits


class UnitGroups:
    """Groups of a network's units, each with the layer it is measured by: the first of those that make it.

    Args:
        model: Functional model without submodels; left as it is.
        names: The layers that are to be measured.
        judge: How units are scored.
        data: Scores and means are taken on a sample of the training split.
        seed: Of the samples.
    """

    def __init__(self, model: Any, names: Sequence[str], judge: Judge, data: Splits, seed: int) -> None:
        self._trace = follow(model)
        self._judge, self._data, self._seed = judge, data, seed
        self._groups = judged_groups(self._trace, judge.importance)
        self._by = {group: next((name for name in group.owners if name in names), None) for group in self._groups}

    def of(self, name: str) -> list[Group]:
        """What is measured by a layer: its units, its heads, its experts."""
        return [group for group, by in self._by.items() if by == name]

    def why_none(self, name: str) -> str:
        """Why nothing is measured by a layer."""
        others = [by for group, by in self._by.items() if name in group.owners]
        if others:
            return f"its units go with those of {others[0]!r}"
        ledger = self._trace.ledger
        entries = [entry for series in ledger.series if series.owner == name for entry in series.entries]
        reasons = [reason for entry in entries if (reason := ledger.reason(entry))]
        reasons += [self._trace.unfollowed[name]] if name in self._trace.unfollowed else []
        return reasons[0] if reasons else "it makes no units that are known"

    def may_go(self, name: str, share: float, minimum: int) -> bool:
        """Whether anything goes of a layer's groups, whatever its score."""
        found = self.of(name)
        scores = dict.fromkeys((atom for group in found for atom in group.atoms), 0.0)
        return bool(choose(found, scores, share, Limits(minimum=minimum)))

    def gone(self, name: str, share: float, minimum: int) -> frozenset[int]:
        """The atoms of a layer's groups that go when a share of each should, the least important ones."""
        return choose(self.of(name), self._scores, share, Limits(minimum=minimum))

    def makes_alone(self, name: str) -> bool:
        """Whether a layer's units are one group, and no other layer makes any of it."""
        found = self.of(name)
        return len(found) == 1 and found[0].kind == "unit" and found[0].owners == (name,)

    def positions(self, name: str, removed: frozenset[int]) -> list[int]:
        """Which units of a layer that makes all of its group alone these are."""
        entries = next(series.entries for series in self._trace.ledger.series if series.owner == name)
        kept = Kept(self._trace.ledger, removed)
        return [position for position, entry in enumerate(entries) if kept.goes(entry)]

    def weights_gone(self, removed: frozenset[int]) -> int:
        """Numbers that all layers store less: of what makes the units and of what reads them."""
        kept = Kept(self._trace.ledger, removed)
        return sum(int(layer.count_params()) - self._left(layer, kept) for layer in self._trace.model.layers)

    def multiplications_gone(self, removed: frozenset[int]) -> int:
        """Multiplications of a row less."""
        return multiplications(self._trace) - multiplications(self._trace, removed)

    def network(self, removed: frozenset[int], *, compensated: bool) -> Any:
        """The network without the units, as PruneUnits leaves it before any training."""
        smaller = shrunk(self._trace, removed)
        if compensated:
            compensate(self._trace, Kept(self._trace.ledger, removed), smaller, self._data.train, seed=self._seed)
        return smaller

    @cached_property
    def _scores(self) -> dict[int, float]:
        return unit_scores(self._trace, self._groups, self._judge, self._data, seed=self._seed)

    def _left(self, layer: Any, kept: Kept) -> int:
        """Numbers that a layer stores yet."""
        axes = self._trace.weights_of(layer.name)
        if not axes:
            return int(layer.count_params())
        return sum(_count(weight.shape, own, kept) for weight, own in zip(layer.weights, axes, strict=True))


def _count(shape: Sequence[int], axes: Sequence[Any], kept: Kept) -> int:
    """Numbers of a weight that stay."""
    total = 1
    for length, axis in zip(shape, axes, strict=True):
        stays = range(length) if axis is None else kept.indices(axis) if isinstance(axis, tuple) else axis(kept)
        total *= len(stays)
    return total
