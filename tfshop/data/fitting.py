"""What is learned from the training rows: vocabularies by counting, statistics of numbers."""

# ruff: noqa: S608  (names and texts in the SQL are quoted, by `quote` and `text_literal`)
from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tfshop._console import progress
from tfshop.data.columns import id_sql, quote, sequence_sql
from tfshop.data.features import IdFeature, NumericFeature, SequenceFeature
from tfshop.data.mapped import release
from tfshop.data.schema import Schema
from tfshop.data.table import NUMBERED, Table
from tfshop.data.vocabulary import NumericStatistics, Vocabulary
from tfshop.errors import DataError

_ROWS_PER_BATCH = 1 << 18
_ROWS_PER_PIECE = 1 << 20
_PIECES_OF_A_BAR = 8  # fewer take no two seconds
_COUNT = "tfshop_count"  # no name a user's column is likely to have


def fit_vocabularies(table: Table, part_sql: str, schema: Schema) -> dict[str, Vocabulary]:
    """Return the vocabulary of every table, counted over the rows where `part_sql` is 0."""
    found = {}
    with progress("counting ids", total=len(schema.vocabulary_names)) as advance:
        for name in schema.vocabulary_names:
            found[name] = _count(table, schema, name, part_sql)
            advance()
    return found


def _count(table: Table, schema: Schema, table_name: str, part_sql: str) -> Vocabulary:
    ids = [feature for feature in schema.id_features if feature.table_name == table_name]
    sequences = [feature for feature in schema.sequence_features if feature.table_name == table_name]
    min_count, max_size = (ids[0].min_count, ids[0].max_size) if ids else (1, None)
    train = f"(SELECT * FROM {NUMBERED} WHERE {part_sql} = 0)"
    owners: list[IdFeature | SequenceFeature] = [*ids, *sequences]
    counted = " UNION ALL ".join(_counted(table, feature, train) for feature in owners)
    query = (
        f"SELECT value, CAST(sum(n) AS BIGINT) AS total FROM ({counted}) WHERE value IS NOT NULL AND value <> '' "
        f"GROUP BY value HAVING total >= {min_count} ORDER BY total DESC, value"
    )
    if max_size is not None:
        query += f" LIMIT {max_size}"
    batches = list(table.batches(query, _ROWS_PER_BATCH))
    if not batches:
        return Vocabulary(pa.array([], pa.string()))
    answer = pa.Table.from_batches(batches).combine_chunks()
    return Vocabulary(pa.concat_arrays(answer["value"].chunks), answer["total"].to_numpy())


def _counted(table: Table, feature: IdFeature | SequenceFeature, train: str) -> str:
    """Return SQL for each value of one column and how often it stands there."""
    if isinstance(feature, IdFeature):
        # Grouped as it stands, which is several times faster for integers, and turned into text once a value.
        grouped = f"SELECT {quote(feature.name)}, count(*) AS {_COUNT} FROM {train} GROUP BY 1"
        return f"SELECT {id_sql(feature.name)} AS value, {_COUNT} AS n FROM ({grouped})"
    # Histories repeat from row to row: each distinct one is unpacked once, and counts as often as it stands there.
    sequence = sequence_sql(feature, table.columns[feature.name])
    histories = f"SELECT {sequence} AS history, count(*) AS n FROM {train} GROUP BY 1"
    return f"SELECT unnest(history) AS value, n FROM ({histories})"


Limits = tuple[float, float] | None


def clip_limits(numbers: npt.NDArray[np.float32], position: int, feature: NumericFeature) -> Limits:
    """Return the raw values a feature is clipped to: quantiles of one column's values; None where it is not.

    Exact, so that the column's values lie in memory for a moment: 4 bytes a row.
    """
    if feature.clip is None:
        return None
    pieces = []
    for start in range(0, len(numbers), _ROWS_PER_PIECE):
        raw = np.array(numbers[start : start + _ROWS_PER_PIECE, position])
        pieces.append(raw[~np.isnan(raw)])
        release(numbers)
    present = np.concatenate(pieces)
    if not len(present):
        return None
    # Values that occur, not means between two: what a quantile cuts off is then never what most rows have.
    low, high = np.quantile(present, feature.clip, method="inverted_cdf")
    return float(low), float(high)


def fit_statistics(schema: Schema, train: Mapping[str, npt.NDArray[Any]]) -> dict[str, NumericStatistics]:
    """Return the statistics of every numeric feature over the encoded training rows, read a piece at a time."""
    numeric = schema.numeric_features
    limits = [clip_limits(train["numeric"], position, feature) for position, feature in enumerate(numeric)]
    moments = [Moments() for _ in numeric]
    num_rows = len(train["numeric"]) if numeric else 0
    for piece in _pieces(train["numeric"]) if numeric else ():
        for position, feature in enumerate(numeric):
            raw, clip = piece[:, position], limits[position]
            moments[position] += Moments.of(raw if clip is None else np.clip(raw, *clip), feature.transform)
    for feature, found in zip(numeric, moments, strict=True):
        if not found.count:
            raise DataError(
                f"column {feature.name!r} is missing in all {num_rows:,} training rows. Expected at least one value. "
                f"Fix: drop NumericFeature({feature.name!r}) from the schema, or train on more rows."
            )
    return {feature.name: found.statistics(clip) for feature, found, clip in zip(numeric, moments, limits, strict=True)}


def _pieces(array: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    starts = range(0, len(array), _ROWS_PER_PIECE)
    if len(starts) < _PIECES_OF_A_BAR:
        yield from (array[start : start + _ROWS_PER_PIECE] for start in starts)
        return
    with progress("measuring numbers", total=len(array)) as advance:
        for start in starts:
            piece = array[start : start + _ROWS_PER_PIECE]
            yield piece
            release(array)
            advance(len(piece))


@dataclass(frozen=True)
class Moments:
    """Sums over some rows of a column that add up to those over all of them.

    Means and squared deviations are merged rather than sums and squares, which would lose all digits on large values
    (Chan, Golub & LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979).

    Example:
        >>> halves = (Moments.of(np.float32(half), "none") for half in ([1, 2], [6, np.nan]))
        >>> (next(halves) + next(halves)).statistics().mean
        3.0
    """

    count: int = 0
    missing: int = 0
    mean: float = 0.0
    squared_deviations: float = 0.0
    minimum: float = np.inf
    maximum: float = -np.inf

    @classmethod
    def of(cls, raw: npt.NDArray[np.float32], transform: str) -> Moments:
        """Measure raw values, shape (n,), NaN where missing."""
        missing = int(np.isnan(raw).sum())
        if missing == len(raw):
            return cls(missing=missing)
        one = NumericStatistics.measure(raw, transform)
        squares = one.count * one.standard_deviation**2
        return cls(one.count, missing, one.mean, squares, one.minimum, one.maximum)

    def __add__(self, other: Moments) -> Moments:
        if not self.count or not other.count:
            some = self if self.count else other
            return replace(some, missing=self.missing + other.missing)
        count, difference = self.count + other.count, other.mean - self.mean
        between = difference**2 * self.count * other.count / count
        return Moments(
            count,
            self.missing + other.missing,
            self.mean + difference * other.count / count,
            self.squared_deviations + other.squared_deviations + between,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
        )

    def statistics(self, clip: Limits = None) -> NumericStatistics:
        """Return what the schema keeps of it, and what the values were clipped to before."""
        deviation = math.sqrt(self.squared_deviations / self.count)
        low, high = clip or (None, None)
        return NumericStatistics(self.count, self.missing, self.mean, deviation, self.minimum, self.maximum, low, high)
