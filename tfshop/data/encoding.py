"""Rows turned into packed arrays: one pass over the table, in batches, written to where each row belongs."""

# ruff: noqa: S608  (names and texts in the SQL are quoted, by `quote` and `text_literal`)
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tfshop._console import progress
from tfshop.data.checks import NUMBERED, check_features
from tfshop.data.columns import id_sql, kind_of, number_sql, quote, sequence_sql
from tfshop.data.schema import Schema
from tfshop.data.splits import ROW
from tfshop.data.table import Table, read_table, to_arrow
from tfshop.data.vocabulary import Vocabulary
from tfshop.errors import DataError

ROWS_PER_BATCH = 1 << 17
_VALUE, _ID = "tfshop_value", "tfshop_id"  # no names a user's column is likely to have

Packed = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Placement:
    """Where each row of a table goes.

    Args:
        parts: int8, shape (n,): which of the outputs.
        positions: int64, shape (n,): which row of it.
        sizes: How many rows each output has.
    """

    parts: npt.NDArray[np.int8]
    positions: npt.NDArray[np.int64]
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, parts: npt.NDArray[np.int8], num_parts: int) -> Placement:
        """Return the placement that keeps the table's order within each part."""
        positions = np.empty(len(parts), np.int64)
        sizes = []
        for part in range(num_parts):
            rows = np.flatnonzero(parts == part)
            positions[rows] = np.arange(len(rows))
            sizes.append(len(rows))
        return cls(parts, positions, tuple(sizes))


def encode_rows(schema: Schema, rows: object) -> Packed:
    """Return the packed arrays of raw rows, for `Schema.encode`."""
    table = rows if isinstance(rows, Table) else read_table(to_arrow(rows))
    check_features(table, schema, for_training=False)
    placement = Placement.of(np.zeros(table.num_rows, np.int8), 1)
    return encode(table, schema, placement, show=False)[0]


def encode(table: Table, schema: Schema, placement: Placement, *, show: bool = True) -> list[Packed]:
    """Return the packed arrays of each part, with "groups" among them where the schema has a group column in training.

    Raises:
        DataError: For infinite numbers, and vectors of the wrong width or with numbers that are not finite.
    """
    outputs = [_allocate(schema, size) for size in placement.sizes]
    relations = {f"vocabulary_{i}": _relation(schema.vocabularies[name]) for i, name in enumerate(schema.table_names)}
    query = _query(table, schema)
    batches = table.batches(query, ROWS_PER_BATCH, relations)
    if not show:
        for batch in batches:
            _write(batch, schema, placement, outputs)
        return outputs
    with progress("encoding rows", total=len(placement.parts)) as advance:
        for batch in batches:
            _write(batch, schema, placement, outputs)
            advance(batch.num_rows)
    return outputs


def _allocate(schema: Schema, num_rows: int) -> Packed:
    specs = schema.input_specs().items()
    return {name: np.zeros((num_rows, *spec.shape), spec.dtype) for name, spec in specs}


def _relation(vocabulary: Vocabulary) -> pa.Table:
    ids = np.arange(1, vocabulary.num_rows, dtype=np.int32)
    return pa.table({_VALUE: vocabulary.values, _ID: ids})


def _query(table: Table, schema: Schema) -> str:
    """Return SQL for the row's number, its ids (looked up by joins), numbers, sequences and vectors."""
    selected, joins = [ROW], []
    for i, feature in enumerate(schema.id_features):
        relation = f"vocabulary_{schema.table_names.index(feature.table_name)}"
        joins.append(f"LEFT JOIN {relation} AS joined_{i} ON {id_sql(feature.name)} = joined_{i}.{_VALUE}")
        selected.append(f"coalesce(joined_{i}.{_ID}, 0)")
    selected += [number_sql(feature.name, table.columns[feature.name]) for feature in schema.numeric_features]
    selected += [sequence_sql(feature, table.columns[feature.name]) for feature in schema.sequence_features]
    selected += [f"CAST({quote(feature.name)} AS DOUBLE[])" for feature in schema.vector_features]
    columns = ", ".join(f"{expression} AS c{i}" for i, expression in enumerate(selected))
    return f"SELECT {columns} FROM {NUMBERED} AS numbered {' '.join(joins)}"


def _write(batch: pa.RecordBatch, schema: Schema, placement: Placement, outputs: list[Packed]) -> None:
    """Encode one batch and write it to the rows it belongs to."""
    rows = batch.column(0).to_numpy()
    columns = iter(batch.columns[1:])
    encoded: Packed = {}
    if schema.id_features:
        ids = [next(columns).to_numpy(zero_copy_only=False) for _ in schema.id_features]
        encoded["ids"] = np.stack(ids, axis=1)
    if schema.numeric_features:
        numbers = [_numbers(next(columns), feature.name, rows) for feature in schema.numeric_features]
        encoded["numeric"] = np.stack(numbers, axis=1)
    for sequence in schema.sequence_features:
        vocabulary = schema.vocabularies[sequence.table_name]
        encoded[sequence.input_name] = _sequences(next(columns), vocabulary, sequence.max_length)
    for vector in schema.vector_features:
        encoded[vector.input_name] = _vectors(next(columns), vector.name, vector.width, rows)
    parts = placement.parts[rows]
    for part, output in enumerate(outputs):
        chosen = parts == part
        positions = placement.positions[rows[chosen]]
        for name, values in encoded.items():
            output[name][positions] = values if chosen.all() else values[chosen]


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


def _sequences(column: pa.Array, vocabulary: Vocabulary, max_length: int) -> npt.NDArray[np.int32]:
    encoded = np.zeros((len(column), max_length), np.int32)
    lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    encoded[np.arange(max_length) < lengths[:, None]] = vocabulary.ids(column.flatten())
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
