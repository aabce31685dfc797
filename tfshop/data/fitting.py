"""What is learned from the training rows: vocabularies by counting, statistics of numbers."""

# ruff: noqa: S608  (names and texts in the SQL are quoted, by `quote` and `text_literal`)
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tfshop._console import progress
from tfshop.data.checks import NUMBERED
from tfshop.data.columns import id_sql, sequence_sql
from tfshop.data.features import IdFeature, SequenceFeature
from tfshop.data.schema import Schema
from tfshop.data.table import Table
from tfshop.data.vocabulary import NumericStatistics, Vocabulary
from tfshop.errors import DataError

_ROWS_PER_BATCH = 1 << 18


def fit_vocabularies(table: Table, schema: Schema, part_sql: str) -> dict[str, Vocabulary]:
    """Return the vocabulary of every table, counted over the rows where `part_sql` is 0."""
    found = {}
    with progress("counting ids", total=len(schema.table_names)) as advance:
        for name in schema.table_names:
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
        return f"SELECT {id_sql(feature.name)} AS value, count(*) AS n FROM {train} GROUP BY 1"
    # Histories repeat from row to row: each distinct one is unpacked once, and counts as often as it stands there.
    sequence = sequence_sql(feature, table.columns[feature.name])
    histories = f"SELECT {sequence} AS history, count(*) AS n FROM {train} GROUP BY 1"
    return f"SELECT unnest(history) AS value, n FROM ({histories})"


def fit_statistics(schema: Schema, train: Mapping[str, npt.NDArray[Any]]) -> dict[str, NumericStatistics]:
    """Return the statistics of every numeric feature over the encoded training rows."""
    found = {}
    for position, feature in enumerate(schema.numeric_features):
        raw = train["numeric"][:, position]
        if np.isnan(raw).all():
            raise DataError(
                f"column {feature.name!r} is missing in all {len(raw):,} training rows. Expected at least one value. "
                f"Fix: drop NumericFeature({feature.name!r}) from the schema, or train on more rows."
            )
        found[feature.name] = NumericStatistics.measure(raw, feature.transform)
    return found
