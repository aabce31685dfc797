"""What gets a codec of its own, and the bytes of a choice for all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras
from tfshop.compression._table_codecs import TableCodecs
from tfshop.compression.roles import output_tensors, source_tensors
from tfshop.compression.table_rows import MergedTable, merged_table, tables_behind
from tfshop.data.features import IdFeature, SequenceFeature
from tfshop.data.schema import Schema
from tfshop.numerics.multiple_choice import Shared
from tfshop.tables import Codec, Float32, RowCounts
from tfshop.tables.codec import ALONE, Fields
from tfshop.tables.nested import resolved

Counts = Mapping[str, RowCounts]


@dataclass(frozen=True)
class Part:
    """A field: the rows of one feature in a merged table, or those of an `Embedding` of its own.

    Attributes:
        layer: Name of the `Embedding`.
        table: Of the schema; None for a layer that is a field by itself.
        features: What the field is called: names of features, as far as they are known.
        start: First row.
        num_rows: Rows.
        dimension: Numbers a row.
        columns: Columns of the ids that look the field up; None for all of them.
    """

    layer: str
    table: str | None
    features: tuple[str, ...]
    start: int
    num_rows: int
    dimension: int
    columns: tuple[int, ...] | None = None

    @property
    def rows(self) -> slice:
        """Of the layer's table."""
        return slice(self.start, self.start + self.num_rows)

    @property
    def name(self) -> str:
        """What to call it."""
        return ", ".join(self.features) or self.layer

    @property
    def fields(self) -> Fields:
        """The field as a table by itself."""
        return ALONE if self.columns is None else Fields((0,), (0,) * len(self.columns))


@dataclass(frozen=True, eq=False)
class Parts:
    """All fields of a network.

    Attributes:
        each: In the order of layers and rows.
        merged: Layers that hold several, to their blocks.
        counts: How often rows were seen, by layer: bytes of codecs that tell frequent rows apart depend on it. Empty
            where that is not known yet, and then all count alike.
        lookup_bytes: What the operators of a lookup take.
        known: Bytes that were computed before: some codecs sort all counts for them.
    """

    each: tuple[Part, ...]
    merged: Mapping[str, MergedTable]
    counts: Counts = field(default_factory=dict)
    lookup_bytes: int = 0
    known: dict[tuple[tuple[Part, ...], Codec], int] = field(default_factory=dict)

    def asked(self, codecs: Sequence[Codec]) -> TableCodecs:
        """One codec a field as `EncodeTables` takes them."""
        found = TableCodecs(merged=dict(self.merged))
        for layer in dict.fromkeys(part.layer for part in self.each):
            own = {part.table: c for part, c in zip(self.each, codecs, strict=True) if part.layer == layer}
            alike = len(set(own.values())) == 1
            found.codecs[layer] = next(iter(own.values())) if alike else {str(t): c for t, c in own.items()}
        return found

    def num_bytes(self, codecs: Sequence[Codec]) -> int:
        """Bytes in a file for one codec a field: those with the same codec share a lookup, any more have operators."""
        blocks = _together(self.each, codecs)
        arrays = sum(self._block_bytes([self.each[i] for i in own], codec) for (_, codec), own in blocks.items())
        return arrays + sum(num_lookups(codec) for _, codec in blocks) * self.lookup_bytes - self.first_lookups

    @property
    def first_lookups(self) -> int:
        """Bytes of one lookup for each layer, which no choice is without."""
        return self.lookup_bytes * len({part.layer for part in self.each})

    def least_seen(self) -> dict[str, RowCounts]:
        """Counts for which codecs that go by them take the fewest bytes: of each field the first row, and no other."""
        made: dict[str, NDArray[np.float64]] = {}
        for part in self.each:
            own = np.zeros(part.num_rows)
            own[0] = 1.0
            made[part.layer] = np.concatenate([made.get(part.layer, own[:0]), own])
        return {layer: RowCounts(own, own) for layer, own in made.items()}

    def shared(self, menu: Sequence[Codec]) -> list[Shared]:
        """What fields of one layer save by having the same codec: levels, codebooks and operators are there once."""
        found = []
        for number, codec in enumerate(menu):
            for own in _together(self.each, [codec] * len(self.each)).values():
                parts, operators = [self.each[i] for i in own], num_lookups(codec) * self.lookup_bytes
                together = self._block_bytes(parts, codec) + operators
                saved = sum(self.bytes_alone(part, codec) + operators for part in parts) - together
                if saved > 0:
                    found.append(Shared(saved // (len(own) - 1), tuple((i, number) for i in own)))
        return found

    def bytes_alone(self, part: Part, codec: Codec) -> int:
        """Of a field that shares its lookup with no other."""
        return self._block_bytes([part], codec)

    def bytes_added(self, number: int, codec: Codec) -> int:
        """Of a field in the lookup that all others of its layer share."""
        own = [part for part in self.each if part.layer == self.each[number].layer]
        others = [part for part in own if part != self.each[number]]
        return self._block_bytes(own, codec) - (self._block_bytes(others, codec) if others else 0)

    def _block_bytes(self, parts: Sequence[Part], codec: Codec) -> int:
        key = tuple(parts), codec
        if key not in self.known:
            self.known[key] = self._counted_bytes(parts, codec)
        return self.known[key]

    def _counted_bytes(self, parts: Sequence[Part], codec: Codec) -> int:
        num_rows, dimension = sum(part.num_rows for part in parts), parts[0].dimension
        merged, layer = self.merged.get(parts[0].layer), parts[0].layer
        fields = merged.fields([str(part.table) for part in parts]) if merged else ALONE
        known = self.counts.get(layer)
        counts = known and known.both(lambda own: np.concatenate([own[part.rows] for part in parts]))
        return resolved(codec, num_rows, dimension, counts, fields).num_bytes(num_rows, dimension, fields)


def parts_of(model: Any, schema: Schema) -> Parts:
    """Fields of the `Embedding` layers of a model without submodels; one that is none of ours is a field."""
    found: list[Part] = []
    blocks: dict[str, MergedTable] = {}
    for layer in model.layers:
        if type(layer) is not keras.layers.Embedding or not _looked_up_by_row(layer, model):
            continue
        merged, dimension = merged_table(layer, model, schema), int(layer.output_dim)
        if merged is None:
            names = _features(tables_behind(layer, model, schema), schema)
            found.append(Part(layer.name, None, names, 0, int(layer.input_dim), dimension))
            continue
        blocks[layer.name] = merged
        for table, start in sorted(merged.starts.items(), key=lambda pair: pair[1]):
            names, columns = _features((table,), schema), merged.columns(table)
            found.append(Part(layer.name, table, names, start, merged.sizes[table], dimension, columns))
    return Parts(tuple(found), blocks)


def num_lookups(codec: Codec) -> int:
    """Tables that a codec stores one by one, each with operators of its own."""
    inner = getattr(codec, "codecs", None) or (getattr(codec, "codec", None),)
    return sum(num_lookups(own) for own in inner if own is not None) or 1


def menu_of(codecs: Sequence[Codec]) -> tuple[Codec, ...]:
    """The choices, rows as they are last."""
    return (*(codec for codec in dict.fromkeys(codecs) if not isinstance(codec, Float32)), Float32())


def _looked_up_by_row(layer: Any, model: Any) -> bool:
    """Whether every call reads ids of the batch: positions, which all rows share, have no loss of their own."""
    sources = source_tensors(layer, model)
    return len(sources) == len(output_tensors(layer, model)) and all(ids.shape[:1] == [None] for ids in sources)


def _features(tables: Sequence[str], schema: Schema) -> tuple[str, ...]:
    every: list[IdFeature | SequenceFeature] = [*schema.id_features, *schema.sequence_features]
    return tuple(feature.name for feature in every if feature.table_name in tables)


def _together(parts: Sequence[Part], codecs: Sequence[Codec]) -> dict[tuple[str, Codec], list[int]]:
    """Fields of one lookup: those of a layer that have the same codec."""
    found: dict[tuple[str, Codec], list[int]] = {}
    for number, (part, codec) in enumerate(zip(parts, codecs, strict=True)):
        found.setdefault((part.layer, codec), []).append(number)
    return found
