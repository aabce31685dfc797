"""Ids and sequences through one lookup in the merged table, and its columns as fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfshop._keras import keras
from tfshop.data.features import SequenceFeature
from tfshop.data.schema import Schema
from tfshop.layers import FieldOffsets, FieldSlice, HashSum, MaskedMean


@dataclass(frozen=True, eq=False)
class LookedUp:
    """Rows of the table.

    Attributes:
        ids: float32 (batch, num_id_features, dimension); None without id features.
        sequences: float32 (batch, max_length, dimension) by the name of the sequence's input; padding is row 0.
    """

    ids: Any
    sequences: Mapping[str, Any]


def look_up(
    schema: Schema, inputs: Mapping[str, Any], dimension: int, *, name: str = "table", table: Any = None
) -> LookedUp:
    """Ids and sequences through a single lookup: an int8 converter copies a table for each lookup it feeds.

    Args:
        schema: Fitted schema.
        inputs: As `click_inputs` gives them.
        dimension: Width of the table.
        name: Name of the table's layer.
        table: The table's layer, where it exists already, with the rows of `schema.tables` in their sorted order.
    """
    if not schema.tables:
        return LookedUp(None, {})
    starts = table_starts(schema) if table is None else sorted_starts(schema.tables)
    ids, offsets = [], []
    if schema.id_features:
        ids.append(inputs["ids"])
        offsets += [starts[feature.table_name] for feature in schema.id_columns]
    for feature in schema.sequence_features:
        ids.append(inputs[feature.input_name])
        offsets += [starts[feature.table_name]] * feature.max_length
    joined = ids[0] if len(ids) == 1 else keras.layers.Concatenate(name=f"{name}_ids")(ids)
    rows = FieldOffsets(offsets, name=f"{name}_rows")(joined)
    table = table or keras.layers.Embedding(sum(schema.tables.values()), dimension, name=name)
    embedded = table(rows)
    if not schema.sequence_features:
        return LookedUp(_id_fields(schema, embedded, name), {})
    return _taken_apart(schema, embedded, name)


def _taken_apart(schema: Schema, embedded: Any, name: str) -> LookedUp:
    """The columns of the one lookup as ids and sequences."""
    position = len(schema.id_columns)
    ids = _id_fields(schema, FieldSlice(0, position, name=f"{name}_id_fields")(embedded), name) if position else None
    sequences = {}
    for feature in schema.sequence_features:
        layer = FieldSlice(position, feature.max_length, name=f"{name}_{feature.input_name}")
        sequences[feature.input_name] = layer(embedded)
        position += feature.max_length
    return LookedUp(ids, sequences)


def pooled(
    inputs: Mapping[str, Any],
    looked_up: LookedUp,
    feature: SequenceFeature,
    *,
    name: str = "table",
    pooling: str = "mean",
) -> Any:
    """One sequence as one field, float32 (batch, 1, dimension); zeros for an empty sequence."""
    layer = f"{name}_{feature.input_name}_{pooling}"
    return MaskedMean(pooling, name=layer)([looked_up.sequences[feature.input_name], inputs[feature.input_name]])


def _id_fields(schema: Schema, columns: Any, name: str) -> Any:
    """One field a feature: the rows of an id that has several hashes are added up."""
    hashes = [feature.hashes for feature in schema.id_features]
    return columns if max(hashes) == 1 else HashSum(hashes, name=f"{name}_hash_sum")(columns)


def table_starts(schema: Schema) -> dict[str, int]:
    """First row of each table inside the merged one."""
    return _starts(schema.tables)


def sorted_starts(tables: Mapping[str, int]) -> dict[str, int]:
    """First row of each table where several schemas with the same tables share the merged one: by name."""
    return _starts({table: tables[table] for table in sorted(tables)})


def _starts(tables: Mapping[str, int]) -> dict[str, int]:
    starts = np.concatenate([[0], np.cumsum(list(tables.values()))])
    return {table: int(start) for table, start in zip(tables, starts, strict=False)}
