"""What a codec is, and what it makes of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tfshop.errors import PlanError

CHUNK = 65_536  # rows decoded at a time, so that memory stays that of the table
PerRow = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RowCounts:
    """How often the rows of a table were looked up in training, and how often they are expected to be.

    Attributes:
        trained: What a row was learned from, float64 (num_rows,).
        expected: What an error in it weighs: the same, or more where later rows look it up far more often.
    """

    trained: PerRow
    expected: PerRow

    def both(self, change: Callable[[PerRow], PerRow]) -> RowCounts:
        """Those of other rows: what `change` makes of one number a row."""
        trained = change(self.trained)
        return RowCounts(trained, trained if self.expected is self.trained else change(self.expected))


Counts = RowCounts | PerRow | None  # an array is both at once


@dataclass(frozen=True)
class Fields:
    """Whose rows are whose in a table that holds those of several features, one below the other.

    Attributes:
        starts: First row of each field, ascending from 0.
        columns: The field that each column of the ids looks up; None for a table of one field, whose ids have any
            shape.
    """

    starts: tuple[int, ...] = (0,)
    columns: tuple[int, ...] | None = None

    def slices(self, num_rows: int) -> list[slice]:
        """Rows of each field."""
        return [slice(start, end) for start, end in pairwise((*self.starts, num_rows))]

    def sizes(self, num_rows: int) -> list[int]:
        """How many rows each field has."""
        return [part.stop - part.start for part in self.slices(num_rows)]

    def of_rows(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The field that each row belongs to."""
        return np.searchsorted(np.asarray(self.starts), ids, side="right") - 1

    def by_column(self, values: NDArray[Any]) -> NDArray[Any]:
        """One value a field as one a column of the ids."""
        return values if self.columns is None else values[list(self.columns)]

    def by_field(self, values: NDArray[Any]) -> NDArray[Any]:
        """Inverse of `by_column`."""
        if self.columns is None:
            return values
        return values[[self.columns.index(field) for field in range(len(self.starts))]]


ALONE = Fields()


@runtime_checkable
class Codec(Protocol):
    """How the rows of a table are stored and looked up: a frozen dataclass of hyperparameters.

    `name` is its key in `CODECS`.
    """

    name: ClassVar[str]

    def encode(
        self, rows: NDArray[np.float32], counts: Counts = None, *, seed: int = 0, fields: Fields = ALONE
    ) -> CodedTable:
        """Codes of `rows` (num_rows, dimension), which were seen as often as `counts` says."""

    def num_bytes(self, num_rows: int, dimension: int, fields: Fields = ALONE) -> int:
        """Bytes that a file will hold for such a table, before anything is built."""

    def decode(self, coded: CodedTable, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rows (len(ids), dimension), to the last bit what the graph looks up."""

    def layer(self, coded: CodedTable, **settings: Any) -> Any:
        """The lookup as a Keras layer with the codes in it; `settings` are those of `TableLookup`."""


@dataclass(frozen=True, eq=False)
class CodedTable:
    """A table as a codec stores it.

    Attributes:
        codec: Who made it.
        num_rows: Rows.
        dimension: Numbers a row.
        arrays: Name to array, each of the dtype it has in the file.
        settings: What was chosen while encoding and is no array, such as the offset of the grid.
        fields: Whose rows are whose.
    """

    codec: Codec
    num_rows: int
    dimension: int
    arrays: Mapping[str, NDArray[Any]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    fields: Fields = ALONE

    @classmethod
    def of(
        cls,
        codec: Codec,
        rows: NDArray[np.float32],
        arrays: Mapping[str, NDArray[Any]],
        settings: Mapping[str, Any] | None = None,
        fields: Fields = ALONE,
    ) -> CodedTable:
        """What a codec made of `rows` (num_rows, dimension)."""
        num_rows, dimension = rows.shape
        return cls(codec, num_rows, dimension, arrays, settings or {}, fields)

    @property
    def num_bytes(self) -> int:
        """Bytes of the arrays."""
        return sum(array.nbytes for array in self.arrays.values())

    def rows(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rows by id, (len(ids), dimension)."""
        return self.codec.decode(self, ids)

    def decode(self) -> NDArray[np.float32]:
        """The whole table, float32 (num_rows, dimension)."""
        table = np.empty((self.num_rows, self.dimension), dtype=np.float32)
        for ids in chunks(self.num_rows):
            table[ids] = self.rows(ids)
        return table

    def distortion(self, rows: NDArray[np.float32], counts: Counts = None) -> float:
        """Mean squared error as a share of the variance, rows weighing as often as they were seen.

        Args:
            rows: The table before, (num_rows, dimension).
            counts: How often each row was seen; None for all alike.
        """
        weights = row_weights(expected_of(counts), self.num_rows)
        mean = np.zeros(self.dimension)
        for ids in chunks(self.num_rows):
            mean += weights[ids] @ rows[ids].astype(np.float64)
        error = variance = 0.0
        for ids in chunks(self.num_rows):
            original = rows[ids].astype(np.float64)
            error += float(weights[ids] @ ((self.rows(ids) - original) ** 2).sum(axis=1))
            variance += float(weights[ids] @ ((original - mean) ** 2).sum(axis=1))
        return error / variance if variance else 0.0

    def layer(self, name: str, **settings: Any) -> Any:
        """The lookup as a Keras layer of that name, with the codes in it.

        Args:
            name: Of the layer.
            **settings: `mask_zero` and `trainable`, as an `Embedding` takes them.
        """
        return self.codec.layer(self, name=name, **settings)


def learns(codec: Codec) -> bool:
    """Whether anything of what a codec stores can be trained, see `TuneTables`; of those that do not say so it can."""
    return bool(getattr(codec, "learns", True))


def row_counts_of(counts: Counts) -> RowCounts | None:
    """Counts as both kinds; None for rows that are all alike."""
    return counts if counts is None or isinstance(counts, RowCounts) else RowCounts(counts, counts)


def expected_of(counts: Counts) -> PerRow | None:
    """How often rows are expected to be looked up; None for all alike."""
    return counts.expected if isinstance(counts, RowCounts) else counts


def error_weights(counts: Counts, num_rows: int) -> PerRow:
    """What errors of rows weigh: as often as they are expected, and once more, for a row never seen may still come."""
    expected = expected_of(counts)
    return np.ones(num_rows) if expected is None else expected + 1.0


def row_weights(counts: PerRow | None, num_rows: int) -> PerRow:
    """Counts as weights that sum to one; all alike where nothing was seen."""
    if counts is None or not counts.sum():
        return np.full(num_rows, 1.0 / max(num_rows, 1))
    return np.asarray(counts / counts.sum(), dtype=np.float64)


def require_table(codec: Codec, rows: NDArray[Any], counts: Counts) -> None:
    """Raise `PlanError` for what is no table of finite numbers, or counts of another length."""
    fix = "Fix: the embeddings of a layer, layer.get_weights()[0]."
    if rows.ndim != 2 or 0 in rows.shape:  # noqa: PLR2004
        raise PlanError(
            f"{codec.name} was given an array of shape {rows.shape}. Expected (rows, dimension), neither of them 0. "
            f"{fix}"
        )
    if not np.isfinite(rows).all():
        raise PlanError(f"{codec.name} was given a table with NaN or infinity. Expected finite numbers. {fix}")
    known = row_counts_of(counts)
    for own in () if known is None else (known.trained, known.expected):
        if own.shape != rows.shape[:1] or not (own >= 0).all():
            raise PlanError(
                f"{codec.name} was given counts of shape {own.shape} for {rows.shape[0]:,} rows. Expected one a row, "
                "none below 0. Fix: row_counts(model, (layer,), data.train)[layer]."
            )


def rows_a_field(asked: int | Sequence[int], sizes: Sequence[int], *, does: str, fix: str) -> tuple[int, ...]:
    """So many rows of each field, and not more than it has.

    Args:
        asked: One number for all, or one a field.
        sizes: Rows of each field.
        does: What to say of it, such as "Grouped splits".
        fix: What to ask for instead.

    Raises:
        PlanError: For numbers of more or fewer fields.
    """
    given = [asked] * len(sizes) if isinstance(asked, int) else asked
    if len(given) != len(sizes):
        raise PlanError(
            f"{does} {len(given)} features, and the table has {len(sizes)}. Expected as many. Fix: {fix}, or a number "
            "of rows for all."
        )
    return tuple(map(min, given, sizes))


def chunks(num_rows: int) -> list[NDArray[np.int64]]:
    """Ids of all rows, some at a time."""
    return [np.arange(start, min(start + CHUNK, num_rows)) for start in range(0, num_rows, CHUNK)]
