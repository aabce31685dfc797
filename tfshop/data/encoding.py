"""Rows turned into packed arrays: one pass over the table, in batches, written to where each row belongs."""

# ruff: noqa: S608  (names and texts in the SQL are quoted, by `quote` and `text_literal`)
from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tfshop._console import progress
from tfshop.data.checks import check_features
from tfshop.data.columns import id_sql, kind_of, number_sql, quote, sequence_sql
from tfshop.data.features import IdFeature
from tfshop.data.hashing import HashTable
from tfshop.data.opening import read_table, to_arrow
from tfshop.data.schema import Schema
from tfshop.data.splits import ROW
from tfshop.data.table import NUMBERED, Table
from tfshop.data.vocabulary import Vocabulary
from tfshop.errors import DataError

ROWS_PER_BATCH = 1 << 17
ROWS_PER_SHARD = 1 << 20
_KEPT_RANKS = 8
_VALUE, _ID = "tfshop_value", "tfshop_id"  # no names a user's column is likely to have

Packed = dict[str, npt.NDArray[Any]]


class Placement:
    """Where each row of a table goes: to which part, and to which row of it, the table's order kept.

    Rows are looked up shard by shard, so that nothing but their parts (a byte each) lies in memory.

    Args:
        parts: int8, shape (n,): the part of each row, from 0.
        num_parts: How many parts there are.
        rows_per_shard: Rows of the table that make a shard.

    Example:
        >>> placement = Placement(np.array([0, 1, 0, 0], np.int8), 2)
        >>> placement.sizes, placement.locate(np.array([3, 1]))[1].tolist()
        ((3, 1), [2, 0])
    """

    def __init__(self, parts: npt.NDArray[np.int8], num_parts: int, rows_per_shard: int = ROWS_PER_SHARD) -> None:
        self.parts, self.rows_per_shard = parts, rows_per_shard
        starts = range(0, len(parts), rows_per_shard)
        counts = [np.bincount(parts[start : start + rows_per_shard], minlength=num_parts) for start in starts]
        self._begins = np.cumsum([np.zeros(num_parts, np.int64), *counts], axis=0)
        self._ranks: OrderedDict[int, npt.NDArray[np.int64]] = OrderedDict()

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many rows each part has."""
        return tuple(int(size) for size in self._begins[-1])

    @property
    def num_shards(self) -> int:
        """How many shards there are; the last may be smaller."""
        return len(self._begins) - 1

    def rows_of(self, shard: int) -> range:
        """Return the rows of the table that make a shard."""
        start = shard * self.rows_per_shard
        return range(start, min(start + self.rows_per_shard, len(self.parts)))

    def slices_of(self, shard: int) -> list[slice]:
        """Return where the rows of a shard lie in each part."""
        begins, ends = self._begins[shard], self._begins[shard + 1]
        return [slice(int(begin), int(end)) for begin, end in zip(begins, ends, strict=True)]

    def locate(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int64]]:
        """Return the parts and the positions in them of rows, by their numbers, shape (b,)."""
        parts = self.parts[rows]
        shards = rows // self.rows_per_shard
        positions = np.empty(len(rows), np.int64)
        for shard in np.unique(shards):
            chosen = shards == shard
            positions[chosen] = self._rank(int(shard))[rows[chosen] - shard * self.rows_per_shard]
        return parts, positions

    def _rank(self, shard: int) -> npt.NDArray[np.int64]:
        """Return the position of each row of a shard in its part; the latest few shards are kept."""
        if shard not in self._ranks:
            rows = self.rows_of(shard)
            parts = self.parts[rows.start : rows.stop]
            ranks = np.empty(len(rows), np.int64)
            for part, begin in enumerate(self._begins[shard]):
                chosen = parts == part
                ranks[chosen] = begin + np.arange(np.count_nonzero(chosen))
            self._ranks[shard] = ranks
            if len(self._ranks) > _KEPT_RANKS:
                self._ranks.popitem(last=False)
        return self._ranks[shard]


def encode_rows(schema: Schema, rows: object) -> Packed:
    """Return the packed arrays of raw rows, for `Schema.encode`."""
    table = rows if isinstance(rows, Table) else read_table(to_arrow(rows))
    check_features(table, schema, for_training=False)
    placement = Placement(np.zeros(table.num_rows, np.int8), 1)
    return encode(table, schema, placement, show=False)[0]


def encode(table: Table, schema: Schema, placement: Placement, *, show: bool = True) -> list[Packed]:
    """Return the packed arrays of each part.

    Raises:
        DataError: For infinite numbers, and vectors of the wrong width or with numbers that are not finite.
    """
    outputs = [_allocate(schema, size) for size in placement.sizes]
    written = encode_into(outputs, table, schema, placement)
    if not show:
        deque(written, maxlen=0)
        return outputs
    with progress("encoding rows", total=len(placement.parts)) as advance:
        for rows in written:
            advance(len(rows))
    return outputs


def encode_into(
    outputs: Sequence[Packed], table: Table, schema: Schema, placement: Placement, rows: range | None = None
) -> Iterator[npt.NDArray[np.int64]]:
    """Write rows into the packed arrays of their parts, and yield the numbers of those just written.

    DuckDB reads and joins on all cores, so that batches may come in any order: each row goes where its number says.

    Args:
        outputs: The arrays of each part, in memory or mapped from files.
        table: The rows.
        schema: With vocabularies.
        placement: Where each row belongs.
        rows: The rows wanted; default: all.

    Raises:
        DataError: As `encode`.
    """
    known = [schema.vocabularies[name] for name in schema.vocabulary_names]
    named = {f"vocabulary_{i}": _relation(vocabulary) for i, vocabulary in enumerate(known)}
    source = table if rows is None else table.piece(rows.start, rows.stop)
    for batch in source.batches(_query(table, schema, rows), _rows_per_batch(schema), named):
        _write(batch, schema, placement, outputs)
        yield batch.column(0).to_numpy()


def _rows_per_batch(schema: Schema) -> int:
    """Return more rows for sequences of a large vocabulary, whose hash table is built anew for each batch."""
    sizes = [len(schema.vocabularies.get(sequence.table_name, ())) for sequence in schema.sequence_features]
    return max(ROWS_PER_BATCH, min(max(sizes, default=0) // 8, ROWS_PER_SHARD))


def _allocate(schema: Schema, num_rows: int) -> Packed:
    specs = schema.input_specs().items()
    return {name: np.zeros((num_rows, *spec.shape), spec.dtype) for name, spec in specs}


def _relation(vocabulary: Vocabulary) -> pa.Table:
    ids = np.arange(1, vocabulary.num_rows, dtype=np.int32)
    return pa.table({_VALUE: vocabulary.values, _ID: ids})


def _query(table: Table, schema: Schema, rows: range | None) -> str:
    """Return SQL for the row's number, its ids (looked up by joins), numbers, sequences and vectors."""
    selected, joins = [ROW], []
    for i, feature in enumerate(schema.id_features):
        if feature.is_hashed:
            selected.append(id_sql(feature.name))
            continue
        relation = f"vocabulary_{schema.vocabulary_names.index(feature.table_name)}"
        joins.append(f"LEFT JOIN {relation} AS joined_{i} ON {id_sql(feature.name)} = joined_{i}.{_VALUE}")
        selected.append(f"coalesce(joined_{i}.{_ID}, 0)")
    selected += [number_sql(feature.name, table.columns[feature.name]) for feature in schema.numeric_features]
    selected += [sequence_sql(feature, table.columns[feature.name]) for feature in schema.sequence_features]
    selected += [f"CAST({quote(feature.name)} AS DOUBLE[])" for feature in schema.vector_features]
    columns = ", ".join(f"{expression} AS c{i}" for i, expression in enumerate(selected))
    wanted = NUMBERED if rows is None else f"(FROM {NUMBERED} WHERE {ROW} >= {rows.start} AND {ROW} < {rows.stop})"
    return f"SELECT {columns} FROM {wanted} AS numbered {' '.join(joins)}"


def _write(batch: pa.RecordBatch, schema: Schema, placement: Placement, outputs: Sequence[Packed]) -> None:
    """Encode one batch and write it to the rows it belongs to."""
    rows = batch.column(0).to_numpy()
    columns = iter(batch.columns[1:])
    encoded: Packed = {}
    if schema.id_features:
        encoded["ids"] = np.column_stack([_ids(next(columns), schema, feature) for feature in schema.id_features])
    if schema.numeric_features:
        numbers = [_numbers(next(columns), feature.name, rows) for feature in schema.numeric_features]
        encoded["numeric"] = np.stack(numbers, axis=1)
    for sequence in schema.sequence_features:
        lookup = schema.lookup(sequence.table_name)
        encoded[sequence.input_name] = _sequences(next(columns), lookup, sequence.max_length)
    for vector in schema.vector_features:
        encoded[vector.input_name] = _vectors(next(columns), vector.name, vector.width, rows)
    parts, positions = placement.locate(rows)
    for part, output in enumerate(outputs):
        chosen = np.flatnonzero(parts == part)
        if not len(chosen):
            continue
        everything, places = len(chosen) == len(rows), positions[chosen]
        for name, values in encoded.items():
            output[name][places] = values if everything else values[chosen]


def _numbers(column: pa.Array, name: str, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    values = column.to_numpy(zero_copy_only=False).astype(np.float64, copy=False)
    with np.errstate(over="ignore"):
        numbers: npt.NDArray[np.float32] = values.astype(np.float32)
    bad = np.isinf(numbers)
    if bad.any():
        row = int(rows[bad].min())
        value = float(values[bad][np.argmin(rows[bad])])
        raise DataError(
            f"column {name!r} is {value!r} in row {row}. Expected finite numbers that fit float32, or missing values. "
            "Fix: replace infinite values before reading, e.g. by missing ones."
        )
    return numbers


def _ids(column: pa.Array, schema: Schema, feature: IdFeature) -> npt.NDArray[np.int32]:
    """Return the columns of one feature: hashed here, or joined by the query already."""
    hashed = schema.hash_table(feature.table_name)
    joined: npt.NDArray[np.int32] = column.to_numpy(zero_copy_only=False) if hashed is None else hashed.columns(column)
    return joined


def _sequences(column: pa.Array, lookup: Vocabulary | HashTable, max_length: int) -> npt.NDArray[np.int32]:
    encoded = np.zeros((len(column), max_length), np.int32)
    lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    encoded[np.arange(max_length) < lengths[:, None]] = lookup.ids(column.flatten())
    return encoded


def _vectors(column: pa.Array, name: str, width: int, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    lengths = column.value_lengths()
    bad = lengths.fill_null(width).to_numpy(zero_copy_only=False) != width
    if bad.any():
        row = int(rows[bad].min())
        found = lengths.to_numpy(zero_copy_only=False)[bad][np.argmin(rows[bad])]
        raise DataError(
            f"column {name!r} has a vector of {int(found)} numbers in row {row}. Expected {width}. "
            f"Fix: make all vectors as long, or declare VectorFeature({name!r}, width=...) rightly."
        )
    present = lengths.is_valid().to_numpy(zero_copy_only=False)
    encoded = np.zeros((len(column), width), np.float32)
    with np.errstate(over="ignore"):
        encoded[present] = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    broken = ~np.isfinite(encoded).all(axis=1)
    if broken.any():
        raise DataError(
            f"column {name!r} has a vector with missing or infinite numbers in row {int(rows[broken].min())}. "
            "Expected finite numbers. Fix: leave the whole vector missing, it becomes zeros."
        )
    return encoded


def encode_groups(table: Table, column: str) -> npt.NDArray[np.int64]:
    """Return a number for each row's group, shape (n,): equal for equal values, 0 where the group is missing."""
    if kind_of(table.columns[column]) in {"list", "other"}:
        raise DataError(
            f"the group {column!r} is of type {table.columns[column]}. Expected text or integers. "
            "Fix: name another column."
        )
    groups = np.zeros(table.num_rows, np.int64)
    value = id_sql(column)
    distinct = f"SELECT DISTINCT {value} AS {_VALUE} FROM rows WHERE {value} IS NOT NULL"
    numbered = f"SELECT {_VALUE}, row_number() OVER (ORDER BY {_VALUE}) AS {_ID} FROM ({distinct})"
    query = f"SELECT {ROW}, coalesce({_ID}, 0) FROM {NUMBERED} LEFT JOIN ({numbered}) AS known ON {value} = {_VALUE}"
    for batch in table.batches(query, ROWS_PER_BATCH):
        groups[batch.column(0).to_numpy()] = batch.column(1).to_numpy(zero_copy_only=False)
    return groups
