"""Which rows of which table belong to which feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from tfshop._keras import keras
from tfshop.compression.roles import calls_of, source_tensors
from tfshop.data.schema import Schema
from tfshop.layers import FieldOffsets
from tfshop.models.lookup import sorted_starts, table_starts
from tfshop.tables.codec import Fields


@dataclass(frozen=True)
class MergedTable:
    """A table that holds those of several features, one below the other.

    Attributes:
        starts: Table of the schema to its first row.
        sizes: Table of the schema to its rows.
        offsets: First row of the table that each column of ids points into.
    """

    starts: Mapping[str, int]
    sizes: Mapping[str, int]
    offsets: tuple[int, ...]

    def fields(self, tables: Sequence[str]) -> Fields:
        """Some of its tables, one below the other in this order."""
        starts = list(accumulate((self.sizes[table] for table in tables), initial=0))[:-1]
        by_offset = {self.starts[table]: position for position, table in enumerate(tables)}
        columns = tuple(by_offset[offset] for offset in self.offsets if offset in by_offset)
        return Fields(tuple(starts), columns)

    def columns(self, table: str) -> tuple[int, ...]:
        """Columns of ids that point into a table of the schema."""
        return tuple(column for column, offset in enumerate(self.offsets) if offset == self.starts[table])


def merged_table(layer: Any, model: Any, schema: Schema) -> MergedTable | None:
    """The blocks of an `Embedding` of ours, None for a table that is none of several features."""
    calls = calls_of(layer, model)
    sources = [tensor._keras_history.layer for tensor in source_tensors(layer, model)]
    if len(calls) != 1 or len(sources) != 1 or not isinstance(sources[0], FieldOffsets):
        return None
    width = sources[0].output.shape[-1]
    offsets = tuple(sources[0].offsets) * (width if len(sources[0].offsets) == 1 else 1)
    for starts in (table_starts(schema), sorted_starts(schema.tables)):
        fits = set(offsets) == set(starts.values()) and layer.input_dim == sum(schema.tables.values())
        if fits and len(offsets) == width:
            return MergedTable(starts, dict(schema.tables), offsets)
    return None


def tables_behind(layer: Any, model: Any, schema: Schema) -> tuple[str, ...]:
    """Tables of the schema whose ids reach an `Embedding` through inputs that are named as features."""
    named = {feature.name: feature.table_name for feature in schema.id_features}
    named |= {feature.input_name: feature.table_name for feature in schema.sequence_features}
    found, waiting, seen = set(), [layer], set()
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, keras.layers.InputLayer):
            found.add(current.name)
        waiting += [tensor._keras_history.layer for tensor in source_tensors(current, model)]
    return tuple(sorted({named[name] for name in found & set(named)}))
