"""Tables in a few bits a number: every `Embedding` becomes codes and a lookup that decodes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tfshop._console import progress
from tfshop._keras import keras
from tfshop.compression._table_codecs import TableCodecs, codec_of, table_codecs
from tfshop.compression.candidate import OF_THE_NETWORK, Candidate
from tfshop.compression.left_alone import left_alone
from tfshop.compression.rebuild import copy_model
from tfshop.compression.table_rows import MergedTable
from tfshop.data.schema import Schema
from tfshop.data.split import Splits
from tfshop.models.rebuild import fresh, inlined
from tfshop.tables import Codec, CodedTable, TableLookup, row_counts
from tfshop.tables.blocks import Block, block_layer
from tfshop.tables.float_table import FloatLookup
from tfshop.training.adoption import require_copyable


@dataclass(frozen=True)
class EncodeTables:
    """Store the rows of tables as a codec of `CODECS` does, without any training.

    What is stored is frozen: later passes train the dense part around it, and no converter touches it.

    Args:
        codec: For every table; or by the names of features or `Embedding` layers. In a table that several features
            share, those that are not named stay in float. Names of `CODECS` may stand for codecs.

    Raises:
        PlanError: At construction for what is no codec; in `check` for a network without tables, and for names that
            no table goes by.

    Example:
        >>> EncodeTables({"item": "Int2", "shop": "Int8"}).codec["item"]
        Int2(scale='row', choice='weighted', grid=None)
    """

    name: ClassVar[str] = "EncodeTables"
    makes: ClassVar[tuple[str, ...]] = ("codes",)
    preserves: ClassVar[tuple[str, ...]] = ("sparsity", "clusters", "factors", *OF_THE_NETWORK)

    codec: Any = "Int4"

    def __post_init__(self) -> None:
        object.__setattr__(self, "codec", codec_of(self.codec))

    def check(self, model: Any, schema: Schema) -> None:
        """Refuse a network without tables, and names that no table goes by."""
        require_copyable(model, schema)
        table_codecs(inlined(model), schema, self.codec)

    def foreseen(self, model: Any, schema: Schema) -> Any:
        """The network with lookups in the place of the tables it will code, their rows not known yet."""
        model = inlined(model)
        coded = table_codecs(model, schema, self.codec).codecs

        def replace(layer: Any) -> Any:
            if layer.name not in coded:
                return fresh(layer)
            return FloatLookup(layer.input_dim, layer.output_dim, mask_zero=bool(layer.mask_zero), name=layer.name)

        return copy_model(model, replace, unfilled=tuple(coded))

    def apply(self, candidate: Candidate, data: Splits, seed: int) -> Candidate:
        """Count how often rows are seen, code them, and put lookups in the place of the tables."""
        model = inlined(candidate.model)
        asked = table_codecs(model, data.schema, self.codec)
        counts = row_counts(model, tuple(asked.codecs), data.train)
        lookups: dict[str, TableLookup] = {}
        told = []
        with progress("coding tables", len(asked.codecs)) as advance:
            for name in asked.codecs:
                lookups[name], row = _coded(model.get_layer(name), asked, counts[name], seed)
                told.append(row)
                advance(note=name)
        made = copy_model(model, lambda layer: lookups.get(layer.name) or fresh(layer), unfilled=tuple(lookups))
        notes = {
            "tables": told,
            "bytes": [sum(row[when] for row in told) for when in ("bytes_before", "bytes_after")],
            "left_alone": left_alone(model, lookups, by=self.name, reason=lambda x, _: _reason(x, asked)),
        }
        rows = {name: model.get_layer(name).get_weights()[0] for name in lookups}
        return candidate.advance(self, made, rows={**candidate.rows, **rows}, notes=notes)


def _coded(
    layer: Any, asked: TableCodecs, counts: NDArray[np.float64], seed: int
) -> tuple[TableLookup, dict[str, Any]]:
    """The lookup in the place of a table, and what is told of it."""
    rows = layer.get_weights()[0]
    settings = {"name": layer.name, "mask_zero": bool(layer.mask_zero)}
    codecs = asked.codecs[layer.name]
    if isinstance(codecs, Codec):
        coded = codecs.encode(rows, counts, seed=seed, fields=asked.fields(layer.name))
        error = coded.distortion(rows, counts)
        blocks = [_told(coded, error, ())]
        return coded.layer(**settings), _row(layer, blocks, error)
    merged = asked.merged[layer.name]
    pairs = [_block(rows, counts, codec, tables, merged, seed) for codec, tables in _by_codec(codecs).items()]
    lookup = block_layer([block for block, _ in pairs], len(rows), **settings)
    return lookup, _row(layer, [told for _, told in pairs], None)


def _by_codec(codecs: Mapping[str, Codec]) -> dict[Codec, tuple[str, ...]]:
    """Tables of the schema that one codec stores: one lookup for all of them."""
    return {codec: tuple(t for t, own in codecs.items() if own == codec) for codec in dict.fromkeys(codecs.values())}


def _block(
    rows: NDArray[np.float32],
    counts: NDArray[np.float64],
    codec: Codec,
    tables: tuple[str, ...],
    merged: MergedTable,
    seed: int,
) -> tuple[Block, dict[str, Any]]:
    parts = [slice(merged.starts[table], merged.starts[table] + merged.sizes[table]) for table in tables]
    own, seen = (np.concatenate([values[part] for part in parts]) for values in (rows, counts))
    coded = codec.encode(own, seen, seed=seed, fields=merged.fields(tables))
    columns, shifts, start = [], [], 0
    for table in tables:
        for column in merged.columns(table):
            columns.append(column)
            shifts.append(start - merged.starts[table])
        start += merged.sizes[table]
    order = np.argsort(columns)
    places = [(merged.starts[table], merged.sizes[table]) for table in tables]
    block = Block(coded, [columns[i] for i in order], [shifts[i] for i in order], places)
    return block, _told(coded, coded.distortion(own, seen), tables)


def _told(coded: CodedTable, distortion: float, features: tuple[str, ...]) -> dict[str, Any]:
    return {
        "codec": repr(coded.codec),
        "features": list(features),
        "rows": coded.num_rows,
        "bytes": coded.num_bytes,
        "distortion": distortion,
        **{key: coded.settings[key] for key in ("grid",) if key in coded.settings},
    }


def _row(layer: Any, blocks: list[dict[str, Any]], distortion: float | None) -> dict[str, Any]:
    shape = [int(layer.input_dim), int(layer.output_dim)]
    before, after = 4 * shape[0] * shape[1], sum(block["bytes"] for block in blocks)
    return {
        "layer": layer.name,
        "shape": shape,
        "bytes_before": before,
        "bytes_after": after,
        "distortion": max(block["distortion"] for block in blocks) if distortion is None else distortion,
        "blocks": blocks,
    }


def _reason(layer: Any, asked: TableCodecs) -> str:
    if layer.name in asked.reasons:
        return asked.reasons[layer.name]
    if isinstance(layer, TableLookup):
        return "its table is coded already"
    if isinstance(layer, keras.layers.Embedding):
        return f"what {type(layer).__name__} does with its rows is not known"
    return "it looks no rows up"
