"""Allocations on validation rows: what they are expected to cost, and what they cost once they are coded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from tfshop._console import progress
from tfshop.compression._table_allocation import Allocation, Choice, Point
from tfshop.compression._table_parts import Part, Parts
from tfshop.compression._table_slopes import Sample, sampled
from tfshop.compression._table_trials import Trials
from tfshop.compression.encode_tables import Encoded, encode
from tfshop.data.split import Splits
from tfshop.tables import Codec
from tfshop.tables.codec import CodedTable


class Measures:
    """Estimates, trials and whole allocations of one network.

    Args:
        model: Functional model without submodels; left as it is.
        parts: Its fields, with the counts of their rows.
        menu: Codecs, rows as they are last.
        data: Everything is measured on its validation split.
        rows: Most validation rows of the sample.
        seed: Of codes and of the sample.
    """

    def __init__(self, model: Any, parts: Parts, menu: tuple[Codec, ...], data: Splits, rows: int, seed: int) -> None:
        self._model, self._menu, self._seed = model, menu, seed
        self._parts, self._counts = parts, parts.counts
        self._tables = {part.layer: model.get_layer(part.layer).get_weights()[0] for part in parts.each}
        self._trials = Trials(model, data.validation.take(rows, seed=seed), data.validation)
        self.sample: Sample = sampled(model, parts.each, data.validation, rows=rows, seed=seed)
        self._coded: dict[Choice, CodedTable] = {}
        self._last: tuple[tuple[int, ...], Encoded] | None = None
        self._aucs: dict[Point, float] = {}

    @cached_property
    def auc(self) -> float:
        """Validation AUC of the rows as they are, the mean over targets."""
        return self._trials.auc

    @property
    def aucs(self) -> Mapping[Point, float]:
        """Validation AUC of what has been coded as a whole."""
        return self._aucs

    def expected(self) -> Allocation:
        """Code each field by each codec, and estimate what that costs."""
        bare = Allocation(self._parts, self._menu, {})
        choices = list(bare.saving())
        changes = {}
        with progress("estimating losses", len(choices)) as advance:
            for i, c in choices:
                part = self._parts.each[i]
                coded = self._coded[i, c] = self._code(part, self._menu[c])
                changes[i, c] = self.sample.slopes[i].changes(self._tables[part.layer][part.rows], coded.rows)
                advance(note=f"{part.name}: {self._menu[c].name}")
        return Allocation(self._parts, self._menu, changes)

    def losses(self, choices: Sequence[Choice]) -> dict[Choice, float]:
        """Cross-entropy that single fields cost, tried one at a time."""
        found = {}
        with progress("trying codecs", len(choices)) as advance:
            for i, c in choices:
                found[i, c] = self._trials.loss(self._parts.each[i], self._coded[i, c])
                advance(note=f"{self._parts.each[i].name}: {self._menu[c].name}")
        return found

    def encoded(self, point: Point) -> Encoded:
        """The tables coded so."""
        if self._last is None or self._last[0] != point.chosen:
            asked = self._parts.asked([self._menu[choice] for choice in point.chosen])
            self._last = point.chosen, encode(self._model, asked, self._counts, self._seed)
        return self._last[1]

    def auc_of(self, point: Point) -> float:
        """Validation AUC of the tables coded so, the mean over targets."""
        if point not in self._aucs:
            self._aucs[point] = self._trials.auc_of(self.encoded(point).lookups)
        return self._aucs[point]

    def measure(self, points: Sequence[Point]) -> None:
        """Code and measure some allocations."""
        with progress("measuring the frontier", len(points)) as advance:
            for point in points:
                advance(note=f"{point.num_bytes:,} bytes: AUC {self.auc_of(point) - self.auc:+.4f}")

    def cheapest(self, allocation: Allocation, ladder: Sequence[Point], max_auc_drop: float, halvings: int) -> Point:
        """The allocation of fewest bytes that keeps the AUC, by bisection; rows as they are keep it for certain.

        Args:
            allocation: Solves budgets between those of the ladder.
            ladder: From few bytes to those of rows as they are.
            max_auc_drop: Most to lose.
            halvings: Of the step between two allocations of the ladder, at the end.
        """
        low, high = -1, len(ladder) - 1  # what is too coarse, and what is fine enough
        with progress("looking for the cheapest", len(ladder).bit_length() + halvings) as advance:
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if self._keeps(ladder[middle], max_auc_drop, advance) else (middle, high)
            best, coarse = ladder[high], ladder[low].num_bytes if low >= 0 else ladder[high].num_bytes
            for _ in range(halvings):
                point = allocation.within((coarse + best.num_bytes) // 2)
                if point is None or not coarse < point.num_bytes < best.num_bytes:
                    break
                if self._keeps(point, max_auc_drop, advance):
                    best = point
                else:
                    coarse = point.num_bytes
        return best

    def _keeps(self, point: Point, max_auc_drop: float, done: Callable[..., None]) -> bool:
        auc = self.auc_of(point)
        done(note=f"{point.num_bytes:,} bytes: AUC {auc - self.auc:+.4f}")
        return auc >= self.auc - max_auc_drop

    def _code(self, part: Part, codec: Codec) -> CodedTable:
        rows, counts = self._tables[part.layer][part.rows], self._counts[part.layer].both(lambda own: own[part.rows])
        return codec.encode(rows, counts, seed=self._seed, fields=part.fields)
