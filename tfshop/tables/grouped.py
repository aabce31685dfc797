"""Frequent rows stored finely, rare ones coarsely: head, body and tail get a codec each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    expected_of,
    learns,
    require_table,
    row_counts_of,
    row_weights,
    rows_a_field,
)
from tfshop.tables.grouped_lookup import GroupedLookup
from tfshop.tables.integer_table import Int2, Int4, Int8
from tfshop.tables.lookup import TableLookup
from tfshop.tables.nested import coded_through, inner_table, nested_layer, require_codec, resolved


@dataclass(frozen=True)
class Grouped:
    """Rows by frequency: the first ids of each field go to the first codec, the last ones to the last.

    Ids have to be ordered by frequency, as `prepare` orders them. In a table of several features every feature has a
    head and a tail of its own. All parts are looked up and one is chosen without arithmetic; a feature that has no
    rows in a part costs it nothing.

    Where shares of lookups split the rows, bytes depend on counts: `num_bytes` takes all rows as seen alike, and
    `resolved` gives the same codec with the rows written out, whose `num_bytes` is that of the file. `encode` stores
    by that one (`CodedTable.codec`). The boundaries themselves are constants of the graph, beside the arrays.

    Args:
        codecs: From the most frequent rows to the rarest.
        split: Where the next codec begins, ascending, one fewer than codecs: a share of a feature's lookups (0.8:
            the rows that get 80% of them stay before it), a number of rows of each feature, or numbers of rows,
            one a feature.

    Raises:
        PlanError: At construction for a split that is none; in `encode` for numbers of rows of other features.

    Example:
        >>> Grouped((Int8("table"), Int4("table")), split=(100,)).num_bytes(1_000, 16)
        8808

    References:
        Ginart et al., Mixed Dimension Embeddings, 2021 (frequent rows deserve more bytes).
    """

    name: ClassVar[str] = "Grouped"

    codecs: tuple[Codec, ...] = (Int8(), Int4(), Int2())
    split: tuple[Any, ...] = (0.8, 0.95)

    def __post_init__(self) -> None:
        object.__setattr__(self, "codecs", tuple(self.codecs))
        split = tuple(tuple(entry) if isinstance(entry, list | tuple) else entry for entry in self.split)
        object.__setattr__(self, "split", split)
        for codec in self.codecs:
            require_codec(codec, of=self.name)
        alike = len({type(entry) for entry in split}) == 1
        ascending = alike and (isinstance(split[0], tuple) or list(split) == sorted(set(split)))
        if len(split) != len(self.codecs) - 1 or not all(map(_is_split, split)) or not ascending:
            raise PlanError(
                f"split is {split!r} for {len(self.codecs)} codecs. Expected one entry fewer than codecs, ascending: "
                "shares of lookups between 0 and 1, or numbers of rows. Fix: Grouped((Int8(), Int2()), split=(0.8,))."
            )

    @property
    def learns(self) -> bool:
        """Whether anything of a codec inside can be trained."""
        return any(map(learns, self.codecs))

    def resolved(self, num_rows: int, dimension: int, counts: Counts = None, fields: Fields = ALONE) -> Grouped:
        """The same with numbers of rows, one a field, in the place of shares; codecs inside likewise."""
        entries = [self._rows(entry, num_rows, counts, fields) for entry in self.split]
        split = list(accumulate(entries, lambda before, entry: tuple(map(max, before, entry))))
        made, known = replace(self, split=tuple(split)), row_counts_of(counts)
        codecs = list(self.codecs)
        for number, part in made._parts(num_rows, fields).items():
            seen = None if known is None else known.both(part.of)
            codecs[number] = resolved(codecs[number], part.num_rows, dimension, seen, part.fields(fields))
        return replace(made, codecs=tuple(codecs))

    def num_bytes(self, num_rows: int, dimension: int, fields: Fields = ALONE) -> int:
        """Those of the parts; with shares in `split` those of a table whose rows were seen alike."""
        made = self.resolved(num_rows, dimension, None, fields)
        return sum(
            made.codecs[number].num_bytes(part.num_rows, dimension, part.fields(fields))
            for number, part in made._parts(num_rows, fields).items()
        )

    def encode(
        self, rows: NDArray[np.float32], counts: Counts = None, *, seed: int = 0, fields: Fields = ALONE
    ) -> CodedTable:
        """Each part by its codec."""
        require_table(self, rows, counts)
        made = self.resolved(len(rows), rows.shape[1], counts, fields)
        tables, known = {}, row_counts_of(counts)
        for number, part in made._parts(len(rows), fields).items():
            seen = None if known is None else known.both(part.of)
            own = made.codecs[number].encode(part.of(rows), seen, seed=seed, fields=part.fields(fields))
            tables[f"part_{number}"] = own
        return coded_through(made, rows, tables, fields)

    def decode(self, coded: CodedTable, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rows by id."""
        found = np.empty((len(ids), coded.dimension), dtype=np.float32)
        field = coded.fields.of_rows(ids)
        for number, part in self._parts(coded.num_rows, coded.fields).items():
            own = (ids >= np.asarray(part.lows)[field]) & (ids < np.asarray(part.highs)[field])
            if own.any():
                local = ids[own] + np.asarray(part.shifts)[field[own]]
                found[own] = inner_table(coded, f"part_{number}").rows(local)
        return found

    def layer(self, coded: CodedTable, **settings: Any) -> TableLookup:
        """The lookup."""
        parts = self._parts(coded.num_rows, coded.fields)
        served = {f"part_{number}": part.by_column(coded.fields) for number, part in parts.items()}
        return nested_layer(GroupedLookup, coded, parts=served, **settings)

    def _rows(self, entry: Any, num_rows: int, counts: Counts, fields: Fields) -> tuple[int, ...]:
        """An entry of the split as rows of each field."""
        sizes, expected = fields.sizes(num_rows), expected_of(counts)
        if isinstance(entry, float):
            seen = [
                row_weights(None if expected is None else expected[part], size)
                for part, size in zip(fields.slices(num_rows), sizes, strict=True)
            ]
            entry = [int(np.searchsorted(np.cumsum(own), entry * (1 - 1e-12))) + 1 for own in seen]
        return rows_a_field(entry, sizes, does="Grouped splits", fix="shares such as split=(0.8,)")

    def _parts(self, num_rows: int, fields: Fields) -> dict[int, Part]:
        """Of a resolved codec: number of the codec to its rows, none that is empty."""
        slices = fields.slices(num_rows)
        starts = np.array([part.start for part in slices])
        ends = [starts, *(starts + np.asarray(rows) for rows in self.split), np.array([part.stop for part in slices])]
        edges = [tuple(map(int, end)) for end in ends]
        cut = {number: (edges[number], edges[number + 1]) for number in range(len(self.codecs))}
        order = _by_signature(fields, list(cut.values()))
        parts = {number: Part(*low_high, order) for number, low_high in cut.items()}
        return {number: part for number, part in parts.items() if part.num_rows}


@dataclass(frozen=True)
class Part:
    """Rows that one codec stores: of each field those from `lows` up to `highs`.

    Attributes:
        lows: Rows of the whole table, one a field.
        highs: Likewise; the same as `lows` where a field has no rows here.
        order: Columns of the ids as they are looked up; None for a table of one field.
    """

    lows: tuple[int, ...]
    highs: tuple[int, ...]
    order: tuple[int, ...] | None

    @property
    def sizes(self) -> tuple[int, ...]:
        """Rows of each field."""
        return tuple(high - low for low, high in zip(self.lows, self.highs, strict=True))

    @property
    def num_rows(self) -> int:
        """Of all fields."""
        return sum(self.sizes)

    @property
    def shifts(self) -> tuple[int, ...]:
        """What turns a row of the whole table into one of the part, for each field."""
        starts = accumulate(self.sizes, initial=0)
        return tuple(start - low for low, start in zip(self.lows, starts, strict=False))

    def of(self, values: NDArray[Any]) -> NDArray[Any]:
        """What the part has of one value a row."""
        return np.concatenate([values[low:high] for low, high in zip(self.lows, self.highs, strict=True)])

    def columns(self, fields: Fields) -> list[int]:
        """Columns of the ids that may point into the part, in the order in which they are looked up."""
        return [column for column in self.order or () if self.sizes[(fields.columns or ())[column]]]

    def fields(self, whole: Fields) -> Fields:
        """Whose rows are whose in the part."""
        if whole.columns is None:
            return ALONE
        used = [field for field, size in enumerate(self.sizes) if size]
        starts = accumulate((self.sizes[field] for field in used[:-1]), initial=0)
        return Fields(tuple(starts), tuple(used.index(whole.columns[column]) for column in self.columns(whole)))

    def by_column(self, fields: Fields) -> dict[str, Any]:
        """Boundaries as the lookup needs them, one a column that it looks up."""
        columns = None if fields.columns is None else self.columns(fields)
        own = [0] if columns is None else [(fields.columns or ())[column] for column in columns]
        edges = {"lows": self.lows, "highs": self.highs, "shifts": self.shifts}
        return {"columns": columns, **{key: [values[field] for field in own] for key, values in edges.items()}}


def _is_split(entry: Any) -> bool:
    if isinstance(entry, tuple):
        return bool(entry) and all(isinstance(rows, int) and rows >= 0 for rows in entry)
    if isinstance(entry, bool):
        return False
    return (isinstance(entry, float) and 0 < entry < 1) or (isinstance(entry, int) and entry > 0)


def _by_signature(fields: Fields, cuts: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> tuple[int, ...] | None:
    """Columns that have rows in the same parts side by side, so that they are cut out and not gathered."""
    if fields.columns is None:
        return None
    own = fields.columns
    return tuple(
        sorted(
            range(len(own)),
            key=lambda column: [n for n, (low, high) in enumerate(cuts) if high[own[column]] > low[own[column]]],
        )
    )
