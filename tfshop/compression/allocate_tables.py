"""Uneven bits: which codec for which field, so that a budget of bytes or of AUC is met with the least loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from tfshop.compression._table_allocation import Allocation, Choice, Point
from tfshop.compression._table_measures import Measures
from tfshop.compression._table_parts import Counts, Parts, menu_of, parts_of
from tfshop.compression._table_slopes import Sample, loss_of
from tfshop.compression.candidate import OF_THE_NETWORK, WEIGHTS_ALIKE, Candidate, require_positive
from tfshop.compression.encode_tables import encoded, with_unknown_rows
from tfshop.data.schema import Schema
from tfshop.data.split import Splits
from tfshop.errors import PlanError
from tfshop.models.rebuild import inlined
from tfshop.tables import Codec, Float32, Grouped, Int1, Int2, Int3, Int4, Int8, RareRows, expected_counts
from tfshop.tables.reading import one_codec
from tfshop.training.adoption import require_copyable

STEPS = 48  # budgets on the frontier
HALVINGS = 4  # between two of them
NOTHING = 1e-5  # of AUC
GROUPS = ((Int4, Int2, 0.5), (Int3, Int1, 0.5), (Int2, Int1, 0.5), (Int2, Int1, 0.8))  # bits, by share of lookups
MENU = (
    *(codec("field") for codec in (Int8, Int4, Int3, Int2, Int1)),
    *(Grouped((often("field"), seldom("field")), (share,)) for often, seldom, share in GROUPS),
)
RARE = 5  # lookups in training, below which a row has learned next to nothing
MOSTLY_RARE = 0.5  # share of rows from which it pays to try folding them
FOLDING = (RareRows(Int4("field"), RARE), RareRows(Int2("field"), RARE))


@dataclass(frozen=True)
class AllocateTables:
    r"""Code each field by the codec that the budget is best spent on; what is not worth coding stays in float32.

    What a codec costs is estimated to second order: by how far it moves the scores of validation rows, from one
    backward pass over a sample. Codecs that are close to the budget's edge are then tried, one field at a time, and the
    allocation is solved exactly. Codecs that hardly matter to it are left out again, for each is a lookup more. A field
    is a feature of a merged table, or an `Embedding` of its own; `Grouped` codecs give its frequent rows more bits than
    its rare ones. Nothing is trained; `TuneTables` may come next.

    Projections of `LowRankTable` stay in the lookups: `EncodeTables` alone folds them into the kernels behind.

    Bytes of `Grouped` and `RareRows` depend on how often rows are seen, which `check` does not know: it refuses what
    would be too little if one row of each feature were seen and no other. Where `max_bytes` in whole bytes turns out
    too little once rows are counted, `apply` refuses it before anything is estimated.

    Args:
        max_bytes: Most bytes of the tables in the file: a whole number, or as a float in (0, 1] the share of what they
            take now in float32, or as few as they can where that is more. Operators of further lookups count, see
            `lookup_bytes`. Either this or `max_auc_drop`.
        max_auc_drop: Most validation AUC to lose before any tuning; the cheapest allocation of the frontier that keeps
            it is taken.
        codecs: To choose from; names of `CODECS` may stand for codecs. By default one to eight bits, four ways to
            give frequent rows more of them, and two that fold rare rows into one where most rows are rare.
        rows: Most validation rows to estimate and try on.
        measured: How many allocations of the frontier are coded and measured on validation, to be shown beside what is
            expected of them.
        lookup_bytes: What each lookup beyond the first of a layer takes in the file besides its codes: 1.2 to 1.7 kB
            in a stripped file, 2.5 to 3.5 with the names of inner tensors. Where tables are small, the same codec for
            all is smaller than bits by worth. 0 counts codes alone.

    Raises:
        PlanError: At construction unless there is one budget; in `check` for a network without tables, and for fewer
            bytes than any allocation can have; in `apply` for fewer than any has.

    Example:
        >>> AllocateTables(max_bytes=60_000, codecs=("Int8", Int4("field"), Int2("field"))).codecs[1]
        Int4(scale='field', choice='weighted', grid=None)

    References:
        LeCun et al., Optimal Brain Damage, 1990 (losses to second order). Dong et al., HAWQ-V2, NeurIPS 2020 (bits by
        second-order losses).
    """

    name: ClassVar[str] = "AllocateTables"
    makes: ClassVar[tuple[str, ...]] = ("codes",)
    preserves: ClassVar[tuple[str, ...]] = (*WEIGHTS_ALIKE, "clusters", "factors", *OF_THE_NETWORK)

    max_bytes: float | int | None = None
    max_auc_drop: float | None = None
    codecs: tuple[Any, ...] = MENU
    rows: int = 20_000
    measured: int = 5
    lookup_bytes: int = 1500

    def __post_init__(self) -> None:
        if (self.max_bytes is None) == (self.max_auc_drop is None):
            found = f"max_bytes is {self.max_bytes!r} and max_auc_drop is {self.max_auc_drop!r}"
            raise PlanError(f"{found}. Expected one of the two. Fix: AllocateTables(max_auc_drop=0.0005).")
        codecs = self.codecs if isinstance(self.codecs, tuple | list) else (self.codecs,)
        object.__setattr__(self, "codecs", tuple(map(one_codec, codecs)))
        if not self.codecs:
            raise PlanError(
                f"codecs is {self.codecs!r}. Expected codecs to choose from, for every field the same. Fix: "
                "codecs=('Int8', 'Int4', 'Int2')."
            )
        if self.max_bytes is not None:
            require_positive("max_bytes", self.max_bytes)
        if isinstance(self.max_bytes, float) and self.max_bytes > 1:
            raise PlanError(
                f"max_bytes is {self.max_bytes}. Expected whole bytes, or a share as a float in (0, 1]. Fix: "
                f"max_bytes={round(self.max_bytes)}, or max_bytes=0.05."
            )
        for name, least in (("rows", 1), ("measured", 0), ("lookup_bytes", 0)):
            _require_whole(name, getattr(self, name), least)
        drop = self.max_auc_drop
        if drop is not None and (isinstance(drop, bool) or not isinstance(drop, int | float) or not drop >= 0):
            raise PlanError(f"max_auc_drop is {drop!r}. Expected a number of at least 0. Fix: max_auc_drop=0.0005.")

    def check(self, model: Any, schema: Schema) -> None:
        """Refuse a network without tables that can be coded, and a budget that no allocation keeps."""
        require_copyable(model, schema)
        self._parts(inlined(model), schema)

    def foreseen(self, model: Any, schema: Schema) -> Any:
        """The network with lookups in the place of the tables it will code, their rows not known yet."""
        model = inlined(model)
        return with_unknown_rows(model, {part.layer for part in self._parts(model, schema).each})

    def apply(self, candidate: Candidate, data: Splits, seed: int) -> Candidate:
        """Estimate, try, solve, and put lookups in the place of the tables."""
        model = inlined(candidate.model)
        parts = self._parts(model, data.schema)
        layers = tuple({part.layer: None for part in parts.each})
        counts = expected_counts(model, layers, data.train, data.validation)
        parts = replace(parts, counts=counts, known={})  # which codecs that tell rare rows apart depend on
        menu = self._menu(counts)
        self._require(parts, menu, model)
        measures = Measures(model, parts, menu, data, self.rows, seed)
        expected = measures.expected()
        most = self._most_bytes(parts, menu)
        budget = most or _likely(expected, measures.sample, self.max_auc_drop or 0.0)
        tried = measures.losses(expected.finalists(budget))
        allocation = expected.corrected(tried)
        ladder = allocation.ladder(STEPS)
        best = self._best(allocation, ladder, measures, most)
        coded = measures.auc_of(best)
        measures.measure(_shown(ladder, allocation, measures.sample, self.measured))
        notes: dict[str, Any] = {
            "allocation": _allocation_rows(allocation, best, expected, tried),
            "frontier": _frontier_rows(ladder, best, allocation, measures),
            "validation_auc": {"float": measures.auc, "coded": coded},
        }
        return encoded(self, candidate, model, measures.encoded(best), **notes)

    def _best(self, allocation: Allocation, ladder: list[Point], measures: Measures, most: int | None) -> Point:
        """The allocation that is asked for."""
        if most is None:
            drop = self.max_auc_drop or 0.0
            best = measures.cheapest(allocation, ladder, drop, HALVINGS)
            lean = allocation.lean(best, best.num_bytes)
            return lean if measures.auc_of(lean) >= measures.auc - drop else best
        return allocation.lean(allocation.within(most) or allocation.smallest(), most)

    def _menu(self, counts: Counts) -> tuple[Codec, ...]:
        """The choices, rows as they are last."""
        rare = np.mean(np.concatenate([own.trained for own in counts.values()]) < RARE)
        return menu_of((*self.codecs, *FOLDING) if self.codecs == MENU and rare > MOSTLY_RARE else self.codecs)

    def _most_bytes(self, parts: Parts, menu: tuple[Codec, ...]) -> int | None:
        """The budget in bytes; None where AUC is the budget."""
        if not isinstance(self.max_bytes, float):
            return self.max_bytes
        now = sum(parts.bytes_alone(part, Float32()) for part in parts.each)
        return max(round(self.max_bytes * now), Allocation(parts, menu, {}).smallest().num_bytes)

    def _parts(self, model: Any, schema: Schema) -> Parts:
        """The fields, once it is clear that they can be coded within the budget."""
        parts = replace(parts_of(model, schema), lookup_bytes=self.lookup_bytes)
        menu = menu_of(self.codecs)
        if not parts.each:
            raise PlanError(
                f"AllocateTables finds no table in {model.name!r} to code. Expected an Embedding layer that is not "
                "coded yet. Fix: leave AllocateTables out."
            )
        self._require(replace(parts, counts=parts.least_seen(), known={}), menu, model)
        return parts

    def _require(self, parts: Parts, menu: tuple[Codec, ...], model: Any) -> None:
        """Refuse codecs that save nothing, and a budget that is too small, given how often rows are seen."""
        allocation = Allocation(parts, menu, {})
        if not any(allocation.saving()):
            raise PlanError(
                f"AllocateTables can make no table of {model.name!r} smaller with the codecs {self.codecs}. Expected "
                "one that needs fewer than 4 bytes a number. Fix: leave codecs out."
            )
        most = self._most_bytes(parts, menu)
        if most is not None and most < allocation.smallest().num_bytes:
            raise _too_few_bytes(allocation, most)


def _require_whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise PlanError(f"{name} is {value!r}. Expected a whole number of at least {least}. Fix: leave it out.")


def _too_few_bytes(allocation: Allocation, most: int) -> PlanError:
    fewest = allocation.smallest().num_bytes
    return PlanError(
        f"max_bytes is {most:,}, and the tables need {fewest:,} bytes with the cheapest codec for each field. Expected "
        f"at least those. Fix: max_bytes={fewest}, codecs of fewer bits, or RareRows where most rows are rare, "
        "or Distill to a smaller dimension first."
    )


def _likely(expected: Allocation, sample: Sample, max_auc_drop: float) -> int:
    """Bytes with which about as much AUC is lost as may be."""
    ladder = expected.ladder(STEPS)
    fine = (point.num_bytes for point in ladder if expected.auc_drop(point, sample) <= max_auc_drop)
    return next(fine, ladder[-1].num_bytes)


def _shown(ladder: Sequence[Point], allocation: Allocation, sample: Sample, count: int) -> list[Point]:
    """Allocations to measure, from the smallest to where nothing is expected to be lost."""
    drops = [allocation.auc_drop(point, sample) for point in ladder]
    last = next((place for place, drop in enumerate(drops) if drop <= NOTHING), len(ladder) - 1)
    return [ladder[place] for place in np.unique(np.linspace(0, last, count).round().astype(int))]


def _allocation_rows(
    allocation: Allocation, best: Point, expected: Allocation, tried: Mapping[Choice, float]
) -> list[dict[str, Any]]:
    """What each field got, and what that costs: as it was estimated, tried, and taken to be in the end."""
    rows = []
    for (i, c), part in zip(enumerate(best.chosen), allocation.parts.each, strict=True):
        rows.append(
            {
                "layer": part.layer,
                "features": list(part.features),
                "codec": repr(allocation.menu[c]),
                "rows": part.num_rows,
                "bytes": allocation.parts.bytes_alone(part, allocation.menu[c]),
                "estimated_loss": loss_of(expected.changes[i, c]) if (i, c) in expected.changes else 0.0,
                "tried_loss": tried.get((i, c)),
                "expected_loss": loss_of(allocation.changes[i, c]) if (i, c) in allocation.changes else 0.0,
            }
        )
    return rows


def _frontier_rows(
    ladder: Sequence[Point], best: Point, allocation: Allocation, measures: Measures
) -> list[dict[str, Any]]:
    """Bytes, what is expected of them, and the AUC that was measured, None where it was not."""
    points = sorted({*ladder, best}, key=lambda point: (point.num_bytes, -point.loss))
    return [
        {
            "bytes": point.num_bytes,
            "expected_loss": point.loss,
            "expected_auc": measures.auc - allocation.auc_drop(point, measures.sample),
            "measured_auc": measures.aucs.get(point),
            "chosen": point == best,
        }
        for point in points
    ]
