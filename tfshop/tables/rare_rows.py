"""Ids that were hardly seen share one learned row; the others stay and are stored by another codec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tfshop.errors import PlanError
from tfshop.tables.codec import (
    ALONE,
    Codec,
    CodedTable,
    Counts,
    Fields,
    RowCounts,
    learns,
    require_table,
    row_counts_of,
    row_weights,
    rows_a_field,
)
from tfshop.tables.integer_table import Int4
from tfshop.tables.lookup import TableLookup
from tfshop.tables.nested import coded_through, inner_table, nested_layer, require_codec, resolved
from tfshop.tables.rare_lookup import BYTE, RareLookup

MIN_COUNT = 2


@dataclass(frozen=True)
class RareRows:
    """Rows of ids that training saw fewer than `min_count` times fold into one row, for each feature.

    That row is the mean of those it stands for, by how often they are looked up: what a rare id gets is learned, and no
    row of zeros. The first row of a feature, which unknown ids and padding have, always stays. A row that is looked up
    more often later was trained no more often for that: `RowCounts.trained` says which rows stay.

    Where ids are ordered by frequency, as `prepare` orders them, the rare ones are the last and are found by
    comparison; otherwise a table of one to three bytes a row says where each row is. Of the two the smaller is taken.

    Bytes depend on counts: `num_bytes` takes all rows as seen alike, so that none is rare, unless `kept` is given;
    `resolved` gives the codec with `kept` written out, whose `num_bytes` is that of the file. `encode` stores by that
    one (`CodedTable.codec`).

    Args:
        codec: Of the rows that stay.
        min_count: Lookups in training that a row needs to stay; 2 where `kept` is not given either.
        kept: Instead: how many rows of each feature stay; a number, or one a feature. The first ones, with `remap=True`
            the most frequent ones.
        remap: True for a table that says where each row is, False for ids in order of frequency, None for the smaller.

    Raises:
        PlanError: For a number out of range, for `min_count` beside `kept`, and in `encode` for `kept` of other
            features.

    Example:
        >>> RareRows(Int4("table"), kept=99).num_bytes(10_000, 16)
        804

    References:
        Zhang et al., Model Size Reduction Using Frequency Based Double Hashing, 2020.
    """

    name: ClassVar[str] = "RareRows"

    codec: Codec = field(default_factory=Int4)
    min_count: int | None = None
    kept: int | tuple[int, ...] | None = None
    remap: bool | None = None

    def __post_init__(self) -> None:
        require_codec(self.codec, of=self.name)
        if isinstance(self.kept, list):
            object.__setattr__(self, "kept", tuple(self.kept))
        self._settle_min_count()
        kept = self.kept if isinstance(self.kept, tuple) else (1 if self.kept is None else self.kept,)
        for name, values in (("min_count", (self._least,)), ("kept", kept)):
            if not values or any(
                isinstance(value, bool) or not isinstance(value, int) or value < 1 for value in values
            ):
                raise PlanError(f"{name} is {getattr(self, name)!r}. Expected whole numbers from 1. Fix: {name}=2.")

    def _settle_min_count(self) -> None:
        """One of `min_count` and `kept` says which rows stay; the usual count beside `kept` counts as not given."""
        if self.kept is None:
            object.__setattr__(self, "min_count", self._least)
        elif self.min_count == MIN_COUNT:
            object.__setattr__(self, "min_count", None)
        elif self.min_count is not None:
            raise PlanError(
                f"RareRows was given min_count={self.min_count!r} and kept={self.kept!r}. Expected one of the two: "
                "kept says by itself which rows stay. Fix: leave min_count out, or kept."
            )

    @property
    def _least(self) -> int:
        return MIN_COUNT if self.min_count is None else self.min_count

    @property
    def learns(self) -> bool:
        """Whether anything of the codec inside can be trained."""
        return learns(self.codec)

    def resolved(self, num_rows: int, dimension: int, counts: Counts = None, fields: Fields = ALONE) -> RareRows:
        """The same with the rows that stay written out; the codec inside likewise."""
        ways = (self.kept is None and counts is not None, False) if self.remap is None else (self.remap,)
        known = row_counts_of(counts)
        made = [self._in_one_way(remap, num_rows, dimension, known, fields) for remap in dict.fromkeys(ways)]
        return min(reversed(made), key=lambda codec: codec._bytes(num_rows, dimension, fields))

    def num_bytes(self, num_rows: int, dimension: int, fields: Fields = ALONE) -> int:
        """Those of the rows that stay, one rare row a feature, and the table that says where each row is."""
        return self.resolved(num_rows, dimension, None, fields)._bytes(num_rows, dimension, fields)

    def encode(
        self, rows: NDArray[np.float32], counts: Counts = None, *, seed: int = 0, fields: Fields = ALONE
    ) -> CodedTable:
        """Fold, then code what stays."""
        require_table(self, rows, counts)
        known = row_counts_of(counts)
        made = self.resolved(len(rows), rows.shape[1], known, fields)
        stay, after = made._staying(len(rows), known, fields), made._fields(len(rows), fields)
        parts = fields.slices(len(rows))
        own = np.concatenate(
            [_folded(rows[part], stay[part], None if known is None else known.expected[part]) for part in parts]
        )
        seen = None if known is None else _counts(known, stay, parts)
        inner = made.codec.encode(own, seen, seed=seed, fields=after)
        own_arrays = {}
        if made.remap:
            width = made._width(len(rows), fields)
            own_arrays["remap"] = np.concatenate([_in_bytes(_places(stay[part]), width) for part in parts])
        return coded_through(made, rows, {"kept": inner}, fields, **own_arrays)

    def decode(self, coded: CodedTable, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rows by id."""
        fields = coded.fields
        own = fields.of_rows(ids)
        starts = np.asarray(self._fields(coded.num_rows, fields).starts)[own]
        if self.remap:
            places = np.zeros(len(ids), dtype=np.int64)
            for byte in coded.arrays["remap"][ids].T:
                places = places * BYTE + byte
        else:
            kept = np.asarray(self._kept(coded.num_rows, fields))
            places = np.minimum(ids - np.asarray(fields.starts)[own], kept[own])
        return inner_table(coded, "kept").rows(starts + places)

    def layer(self, coded: CodedTable, **settings: Any) -> TableLookup:
        """The lookup."""
        num_rows, fields = coded.num_rows, coded.fields
        before, after = np.asarray(fields.starts), np.asarray(self._fields(num_rows, fields).starts)
        kept = np.asarray(self._kept(num_rows, fields))
        folds = any(size > rows for size, rows in zip(fields.sizes(num_rows), kept, strict=True))
        own = {
            "limits": fields.by_column(before + kept).tolist() if folds and not self.remap else None,
            "shifts": fields.by_column(after if self.remap else after - before).tolist(),
            "width": self._width(num_rows, fields) if self.remap else 0,
        }
        return nested_layer(RareLookup, coded, **own, **settings)

    def _in_one_way(
        self, remap: bool, num_rows: int, dimension: int, counts: RowCounts | None, fields: Fields
    ) -> RareRows:
        kept = []
        for number, part in enumerate(fields.slices(num_rows)):
            size = part.stop - part.start
            if self.kept is not None:
                own = self._kept(num_rows, fields)[number]
            elif counts is None:
                own = size
            else:
                often = counts.trained[part] >= self._least
                often[0] = True
                own = int(often.sum() if remap else size - np.argmax(often[::-1]))
            kept.append(own if own < size - 1 else size)  # one row alone is folded into itself
        made = replace(self, min_count=None, kept=tuple(kept), remap=remap)
        seen = None
        if counts is not None:
            seen = _counts(counts, made._staying(num_rows, counts, fields), fields.slices(num_rows))
        after = made._fields(num_rows, fields)
        return replace(made, codec=resolved(self.codec, made._num_kept(num_rows, fields), dimension, seen, after))

    def _bytes(self, num_rows: int, dimension: int, fields: Fields) -> int:
        """Of a resolved codec."""
        own = self.codec.num_bytes(self._num_kept(num_rows, fields), dimension, self._fields(num_rows, fields))
        return own + (num_rows * self._width(num_rows, fields) if self.remap else 0)

    def _kept(self, num_rows: int, fields: Fields) -> tuple[int, ...]:
        """Rows of each field that stay."""
        asked = num_rows if self.kept is None else self.kept
        return rows_a_field(asked, fields.sizes(num_rows), does="RareRows keeps rows of", fix="min_count=2")

    def _after(self, num_rows: int, fields: Fields) -> list[int]:
        """Rows of each field afterwards, that of rare ids among them."""
        pairs = zip(self._kept(num_rows, fields), fields.sizes(num_rows), strict=True)
        return [kept + (kept < size) for kept, size in pairs]

    def _num_kept(self, num_rows: int, fields: Fields) -> int:
        return sum(self._after(num_rows, fields))

    def _fields(self, num_rows: int, fields: Fields) -> Fields:
        starts = tuple(accumulate(self._after(num_rows, fields), initial=0))[:-1]
        return Fields(starts, fields.columns)

    def _width(self, num_rows: int, fields: Fields) -> int:
        """Bytes that say where a row of a field is."""
        return max(1, -(-(max(self._after(num_rows, fields)) - 1).bit_length() // 8))

    def _staying(self, num_rows: int, counts: RowCounts | None, fields: Fields) -> NDArray[np.bool_]:
        """Of a resolved codec: which rows stay."""
        stay = np.zeros(num_rows, dtype=bool)
        for part, kept in zip(fields.slices(num_rows), self._kept(num_rows, fields), strict=True):
            stay[part.start : part.start + kept] = True
            if self.remap and counts is not None:
                seen = counts.trained[part].copy()
                seen[0] = np.inf
                stay[part] = False
                stay[part.start + np.argsort(-seen, kind="stable")[:kept]] = True
        return stay


def _in_bytes(numbers: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    shifts = 8 * np.arange(width)[::-1]
    return np.asarray(numbers[:, None] >> shifts & (BYTE - 1), dtype=np.uint8)


def _places(stay: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Where each row of a field is afterwards."""
    return np.where(stay, np.cumsum(stay) - 1, stay.sum())


def _folded(
    rows: NDArray[np.float32], stay: NDArray[np.bool_], counts: NDArray[np.float64] | None
) -> NDArray[np.float32]:
    """Rows of a field that stay, and one for the others."""
    if stay.all():
        return rows
    rare = ~stay
    weights = row_weights(None if counts is None else counts[rare], int(rare.sum()))
    shared = weights @ rows[rare].astype(np.float64)
    return np.concatenate([rows[stay], shared[None].astype(np.float32)])


def _counts(counts: RowCounts, stay: NDArray[np.bool_], parts: Sequence[slice]) -> RowCounts:
    """How often rows were seen that stay, and those for the others."""

    def after(values: NDArray[np.float64]) -> NDArray[np.float64]:
        made: list[NDArray[np.float64]] = []
        for part in parts:
            own, rare = values[part][stay[part]], values[part][~stay[part]]
            made += [own, rare.sum(keepdims=True)] if len(rare) else [own]
        return np.concatenate(made)

    return counts.both(after)


def folds_rows(codec: Codec) -> bool:
    """Whether rows fold into one, here or in a codec inside: how many is known once they are counted."""
    inner = (*getattr(codec, "codecs", ()), *filter(None, [getattr(codec, "codec", None)]))
    return isinstance(codec, RareRows) or any(map(folds_rows, inner))
