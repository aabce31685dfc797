"""Who gets which codec: names of features and layers matched with the tables of a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tfshop._keras import keras
from tfshop.compression.roles import source_layers
from tfshop.compression.table_rows import MergedTable, merged_table, tables_behind
from tfshop.data.schema import Schema
from tfshop.errors import PlanError
from tfshop.layers import FieldOffsets
from tfshop.tables import Codec, Float32
from tfshop.tables.codec import ALONE, Fields, learns
from tfshop.tables.rare_rows import folds_rows

Asked = Codec | Mapping[str, Codec]


@dataclass
class TableCodecs:
    """What becomes of each table.

    Attributes:
        codecs: `Embedding` layer to its codec, or to one codec for each table of the schema that is merged in it.
        merged: Those that hold the rows of several features to their blocks.
        reasons: Layer that stays as it is, to the reason.
    """

    codecs: dict[str, Asked] = field(default_factory=dict)
    merged: dict[str, MergedTable] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def fields(self, name: str) -> Fields:
        """Whose rows are whose in a layer's table."""
        merged = self.merged.get(name)
        return merged.fields(tuple(merged.starts)) if merged else ALONE

    @property
    def fixed(self) -> tuple[str, ...]:
        """Layers that get codecs of which nothing can learn."""
        every = {name: [own] if isinstance(own, Codec) else [*own.values()] for name, own in self.codecs.items()}
        return tuple(name for name, own in every.items() if not any(map(learns, own)))


def table_codecs(model: Any, schema: Schema, codec: Asked, *, by: str = "EncodeTables") -> TableCodecs:
    """Match codecs with tables.

    Raises:
        PlanError: Where no table can be coded, and for names that no table goes by.
    """
    tables = [layer for layer in model.layers if type(layer) is keras.layers.Embedding]
    if not tables:
        raise PlanError(
            f"{by} finds no table in {model.name!r} to code. Expected an Embedding layer that is not coded yet. Fix: "
            "leave its codec out."
        )
    blocks = {layer.name: merged_table(layer, model, schema) for layer in tables}
    found = TableCodecs(merged={name: merged for name, merged in blocks.items() if merged})
    if isinstance(codec, Codec):
        found.codecs.update({layer.name: codec for layer in tables})
    else:
        _Names(model, schema, codec).match(tables, found)
    for layer in tables:
        own = found.codecs.get(layer.name)
        if isinstance(own, Codec) and not _saves(layer, own, found.fields(layer.name)):
            found.reasons[layer.name] = f"{own.name} would store its {layer.input_dim} rows in no fewer bytes"
            del found.codecs[layer.name]
    if not found.codecs:
        raise PlanError(
            f"{by} can make no table of {model.name!r} smaller: {next(iter(found.reasons.values()))}. Expected "
            f"a table that is. Fix: leave {by} out, or Int8(scale='table')."
        )
    return found


def _saves(layer: Any, codec: Codec, fields: Fields) -> bool:
    shape = int(layer.input_dim), int(layer.output_dim)
    return isinstance(codec, Float32) or folds_rows(codec) or codec.num_bytes(*shape, fields) < 4 * shape[0] * shape[1]


class _Names:
    """Codecs by the names of features and layers."""

    def __init__(self, model: Any, schema: Schema, codecs: Mapping[str, Codec]) -> None:
        self._model, self._schema, self._codecs = model, schema, codecs
        self._tables = {feature.name: feature.table_name for feature in schema.id_features}
        self._tables |= {feature.name: feature.table_name for feature in schema.sequence_features}
        self._used: set[str] = set()

    def match(self, layers: list[Any], found: TableCodecs) -> None:
        """Fill `found`."""
        by_table = self._by_table({layer.name for layer in layers})
        for layer in layers:
            merged = found.merged.get(layer.name)
            if layer.name in self._codecs:
                found.codecs[layer.name] = self._codecs[layer.name]
                continue
            inside = merged.starts if merged else self._behind(layer)
            own = {table: by_table[table] for table in inside if table in by_table}
            self._used |= set(own)
            if not own:
                found.reasons[layer.name] = "no codec was named for it"
            elif merged is not None:
                every = {table: own.get(table, Float32()) for table in inside}
                alike = len(set(every.values())) == 1
                found.codecs[layer.name] = next(iter(every.values())) if alike else every
            elif len(own) < len(inside):
                raise self._whole(layer.name, inside)
            elif len(set(own.values())) == 1:
                found.codecs[layer.name] = next(iter(own.values()))
            else:
                raise self._conflict(layer.name, own)
        self._require_used(by_table)

    def _behind(self, layer: Any) -> tuple[str, ...]:
        """Tables of the schema whose rows a layer holds that is no `MergedTable`; none where that cannot be told."""
        sources = [source for source in source_layers(layer, self._model) if isinstance(source, FieldOffsets)]
        several = len({offset for source in sources for offset in source.offsets}) > 1
        return () if several else tables_behind(layer, self._model, self._schema)

    def _by_table(self, layers: set[str]) -> dict[str, Codec]:
        """Codecs of the features, by the tables of the schema."""
        found: dict[str, Codec] = {}
        for name, codec in self._codecs.items():
            if name in layers:
                continue
            if name not in self._tables:
                raise PlanError(
                    f"The codec names {name!r}, which is neither a feature with a table nor an Embedding layer. "
                    f"Expected some of {', '.join([*self._tables, *sorted(layers)])}. Fix: one of those."
                )
            table = self._tables[name]
            if found.setdefault(table, codec) != codec:
                first = next(other for other in self._codecs if self._tables.get(other) == table)
                raise self._conflict(table, {first: found[table], name: codec})
        return found

    def _conflict(self, table: str, codecs: Mapping[str, Codec]) -> PlanError:
        told = ", ".join(f"{name}: {codec!r}" for name, codec in codecs.items())
        return PlanError(
            f"The codec gives table {table!r} several codecs: {told}. Expected one for features that share a table. "
            "Fix: the same codec for them."
        )

    def _whole(self, layer: str, inside: Iterable[str]) -> PlanError:
        readers = [name for name, table in self._tables.items() if table in inside]
        named = [name for name in readers if name in self._codecs]
        return PlanError(
            f"The codec names {', '.join(named)}, but {', '.join(readers)} all read layer {layer!r}, and which rows "
            "are whose is not known. Expected one codec for the whole layer. Fix: name the layer, or give all of them "
            "the codec."
        )

    def _require_used(self, by_table: Mapping[str, Codec]) -> None:
        unused = [table for table in by_table if table not in self._used]
        if unused:
            raise PlanError(
                f"The codec cannot tell which rows of {self._model.name!r} belong to {', '.join(unused)}. Expected "
                "a merged table as build_model makes it, or an input named as the feature. Fix: name the Embedding "
                "layer instead of the feature, or code tables before passes that take rows out."
            )
