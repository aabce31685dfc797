"""Which rows of which table belong to which feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from tfshop._keras import keras
from tfshop.compression.roles import source_tensors
from tfshop.data.schema import Schema
from tfshop.layers import ColumnSelect, FieldOffsets
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
    """The blocks of an `Embedding` of ours, None for a table that is none of several features.

    Columns of ids are followed to the inputs, so that a table from which features were dropped, and one of a tower
    with some of the features, are known too.
    """
    sources = source_tensors(layer, model)
    if len(sources) != 1 or not isinstance(sources[0]._keras_history.layer, FieldOffsets):
        return None
    shift = sources[0]._keras_history.layer
    tables = _tables_of_columns(_read(sources[0])[0], schema)
    offsets = tuple(shift.offsets) * (len(tables) if len(shift.offsets) == 1 else 1)
    if not tables or len(tables) != len(offsets):
        return None
    starts = dict(sorted(set(zip(tables, offsets, strict=True)), key=lambda pair: pair[1]))
    sizes = {table: schema.tables[table] for table in starts}
    ends = list(accumulate(sizes.values()))
    fits = len(starts) == len(set(offsets)) and [*starts.values(), layer.input_dim] == [0, *ends]
    return MergedTable(starts, sizes, offsets) if fits else None


def _read(tensor: Any) -> list[Any]:
    """What a layer read in the very call that gave a tensor."""
    layer, call, _ = tensor._keras_history
    return list(layer._inbound_nodes[call].keras_inputs)


def _tables_of_columns(ids: Any, schema: Schema) -> tuple[str, ...]:
    """The table of the schema that each column of some ids points into; none where that is not known."""
    layer = ids._keras_history.layer
    if isinstance(layer, keras.layers.InputLayer):
        found = _tables_of_input(layer.name, schema)
        return found if (len(found),) == tuple(ids.shape[1:]) else ()
    parts = [_tables_of_columns(source, schema) for source in _read(ids)]
    if isinstance(layer, ColumnSelect):
        return tuple(parts[0][column] for column in layer.columns) if parts[0] else ()
    if isinstance(layer, keras.layers.Activation) and layer.get_config()["activation"] == "linear":
        return parts[0]
    if isinstance(layer, keras.layers.Concatenate) and all(parts):
        return tuple(table for part in parts for table in part)
    return ()


def _tables_of_input(name: str, schema: Schema) -> tuple[str, ...]:
    """As `_tables_of_columns`, of an input by its name."""
    packed = {"ids": tuple(feature.table_name for feature in schema.id_columns)}
    alone = {feature.name: (feature.table_name,) for feature in schema.id_features}
    histories = {feature.input_name: (feature.table_name,) * feature.max_length for feature in schema.sequence_features}
    return {**alone, **histories, **packed}.get(name, ())


def tables_behind(layer: Any, model: Any, schema: Schema) -> tuple[str, ...]:
    """Tables of the schema whose ids reach an `Embedding`: by column where that is known, by inputs otherwise."""
    found = set()
    for ids in source_tensors(layer, model):
        shift = ids._keras_history.layer
        before = _read(ids)[0] if isinstance(shift, FieldOffsets) else ids
        found |= set(_tables_of_columns(before, schema) or _tables_of_inputs(ids, model, schema))
    return tuple(sorted(found))


def _tables_of_inputs(ids: Any, model: Any, schema: Schema) -> set[str]:
    """Tables of all inputs named as features that some ids are made of, whatever is between."""
    found, waiting, seen = set(), [ids], set()
    while waiting:
        layer = waiting.pop()._keras_history.layer
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        if isinstance(layer, keras.layers.InputLayer) and layer.name != "ids":
            found |= set(_tables_of_input(layer.name, schema))
        waiting += source_tensors(layer, model)
    return found
