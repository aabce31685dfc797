"""Tables in a few bits a number: every `Embedding` becomes codes and a lookup that decodes them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tfshop._console import progress
from tfshop._keras import keras
from tfshop.compression._projection_folding import NOTHING_FOLDED, Foldings, foldings, with_lookups
from tfshop.compression._table_codecs import TableCodecs, table_codecs
from tfshop.compression.candidate import OF_THE_NETWORK, WEIGHTS_ALIKE, Candidate
from tfshop.compression.left_alone import left_alone
from tfshop.compression.table_rows import MergedTable
from tfshop.data.schema import Schema
from tfshop.data.split import Splits
from tfshop.errors import PlanError
from tfshop.models.rebuild import inlined
from tfshop.tables import Codec, CodedTable, RowCounts, TableLookup, expected_counts
from tfshop.tables.blocks import Block, block_layer
from tfshop.tables.float_table import FloatLookup, HalfLookup
from tfshop.tables.low_rank_table import ShortRows
from tfshop.tables.reading import codec_of
from tfshop.training.adoption import require_copyable


@dataclass(frozen=True)
class EncodeTables:
    """Store the rows of tables as a codec of `CODECS` does, without any training.

    What is stored is frozen: later passes train the dense part around it, and no converter touches it.

    Args:
        codec: For every table; or by the names of features or `Embedding` layers, whatever these are. In a table that
            several features share, those that are not named stay in float. Names of `CODECS` may stand for codecs.
        fold: Whether Dense kernels that alone read a table of `LowRankTable`, through layers that move, join or
            average rows, take its projection in: lookups then give `rank` numbers a row, and kernels have as many
            inputs fewer. Where anything else reads it, where a kernel has zeros to keep or a constraint, or where rows
            of one table have other codecs, the projection stays; the notes say which, and why.

    Raises:
        PlanError: At construction for what is no codec; in `check` for a network without tables, and for names that
            no table goes by.

    Example:
        >>> EncodeTables({"item": "Int2", "shop": "Int8"}).codec["item"]
        Int2(scale='row', choice='weighted', grid=None)

    References:
        Ginart et al., Mixed Dimension Embeddings, 2021 (projections folded into what reads them).
    """

    name: ClassVar[str] = "EncodeTables"
    makes: ClassVar[tuple[str, ...]] = ("codes",)
    preserves: ClassVar[tuple[str, ...]] = (*WEIGHTS_ALIKE, "clusters", "factors", *OF_THE_NETWORK)

    codec: Any = "Int4"
    fold: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "codec", codec_of(self.codec))
        if not isinstance(self.fold, bool):
            raise PlanError(f"fold is {self.fold!r}. Expected True or False. Fix: fold=True.")

    def check(self, model: Any, schema: Schema) -> None:
        """Refuse a network without tables, and names that no table goes by."""
        require_copyable(model, schema)
        table_codecs(inlined(model), schema, self.codec)

    def foreseen(self, model: Any, schema: Schema) -> Any:
        """The network with lookups in the place of the tables it will code, their rows not known yet."""
        model = inlined(model)
        asked = table_codecs(model, schema, self.codec)
        return with_unknown_rows(model, tuple(asked.codecs), self._foldings(model, asked), fixed=asked.fixed)

    def apply(self, candidate: Candidate, data: Splits, seed: int) -> Candidate:
        """Count how often rows are seen, code them, and put lookups in the place of the tables."""
        model = inlined(candidate.model)
        asked = table_codecs(model, data.schema, self.codec)
        counts = expected_counts(model, tuple(asked.codecs), data.train, data.validation)
        with progress("coding tables", len(asked.codecs)) as advance:
            found = encode(model, asked, counts, seed, done=advance)
        return encoded(self, candidate, model, found, self._foldings(model, asked))

    def _foldings(self, model: Any, asked: TableCodecs) -> Foldings:
        return foldings(model, asked) if self.fold else NOTHING_FOLDED


@dataclass(frozen=True, eq=False)
class Encoded:
    """Lookups for the tables of a network.

    Attributes:
        asked: The codecs.
        lookups: By the names of the `Embedding` layers.
        told: A row a layer: shape, bytes and distortion.
    """

    asked: TableCodecs
    lookups: Mapping[str, TableLookup]
    told: Sequence[Mapping[str, Any]]

    @property
    def num_bytes(self) -> int:
        """Of all lookups."""
        return sum(row["bytes_after"] for row in self.told)


def encode(
    model: Any,
    asked: TableCodecs,
    counts: Mapping[str, RowCounts],
    seed: int,
    *,
    done: Callable[..., None] = lambda **_: None,
) -> Encoded:
    """Code the tables of a model without submodels, whose rows were seen so often; `done(note=layer)` after each."""
    lookups, told = {}, []
    for name in asked.codecs:
        lookups[name], row = _coded(model.get_layer(name), asked, counts[name], seed)
        told.append(row)
        done(note=name)
    return Encoded(asked, lookups, told)


def encoded(
    step: Any, candidate: Candidate, model: Any, found: Encoded, folds: Foldings = NOTHING_FOLDED, **notes: Any
) -> Candidate:
    """The candidate with lookups in the place of its tables; more notes may be added.

    Args:
        step: The pass.
        candidate: With `model` as it was.
        model: That of the candidate, without submodels.
        found: What takes the place of the tables.
        folds: Which of them leave their projections to kernels.
        **notes: Of the pass itself.
    """
    rows = {name: model.get_layer(name).get_weights()[0] for name in found.lookups}
    short = {name: found.lookups[name].taken_apart(rows[name]) for name in folds.ranks}
    lookups = {**found.lookups, **{name: own.lookup for name, own in short.items()}}
    made = with_lookups(model, lookups, folds, {name: own.projection for name, own in short.items()})
    treated = {*lookups, *folds.kernels}
    told = [_without_projection(row, short.get(row["layer"])) for row in found.told]
    notes = {
        "tables": told,
        "bytes": [sum(row[when] for row in told) for when in ("bytes_before", "bytes_after")],
        "left_alone": left_alone(model, treated, by=step.name, reason=lambda x, _: _reason(x, found.asked)),
        **({"projections": folds.told()} if folds.ranks or folds.reasons else {}),
        **notes,
    }
    known = {**candidate.rows, **rows, **{name: own.rows for name, own in short.items()}}
    return candidate.advance(step, made, rows=known, notes=notes)


def with_unknown_rows(
    model: Any, names: Collection[str], folds: Foldings = NOTHING_FOLDED, *, fixed: Collection[str] = ()
) -> Any:
    """A model without submodels with lookups in the place of these tables, their rows not known yet.

    Args:
        model: Left as it is.
        names: Of the tables.
        folds: Which of them leave their projections to kernels.
        fixed: Those whose codes cannot learn.
    """
    lookups = {}
    for layer in map(model.get_layer, names):
        kind: Any = HalfLookup if layer.name in fixed else FloatLookup
        width = folds.ranks.get(layer.name, layer.output_dim)
        lookups[layer.name] = kind(layer.input_dim, width, **_settings(layer))
    unknown = {
        name: np.eye(rank, model.get_layer(name).output_dim, dtype=np.float32) for name, rank in folds.ranks.items()
    }
    return with_lookups(model, lookups, folds, unknown)


def _without_projection(row: Mapping[str, Any], short: ShortRows | None) -> Mapping[str, Any]:
    """What is told of a table once a kernel has its projection."""
    if short is None:
        return row
    saved = short.projection.nbytes
    blocks = [{**block, "bytes": block["bytes"] - saved} for block in row["blocks"]]
    return {**row, "bytes_after": row["bytes_after"] - saved, "blocks": blocks}


def _coded(layer: Any, asked: TableCodecs, counts: RowCounts, seed: int) -> tuple[TableLookup, dict[str, Any]]:
    """The lookup in the place of a table, and what is told of it."""
    rows = layer.get_weights()[0]
    settings, codecs = _settings(layer), asked.codecs[layer.name]
    if isinstance(codecs, Codec):
        coded = codecs.encode(rows, counts, seed=seed, fields=asked.fields(layer.name))
        error = coded.distortion(rows, counts)
        blocks = [_told(coded, error, ())]
        return coded.layer(**settings), _row(layer, blocks, error)
    merged = asked.merged[layer.name]
    pairs = [_block(rows, counts, codec, tables, merged, seed) for codec, tables in _by_codec(codecs).items()]
    lookup = block_layer([block for block, _ in pairs], len(rows), asked.fields(layer.name), **settings)
    return lookup, _row(layer, [told for _, told in pairs], None)


def _settings(layer: Any) -> dict[str, Any]:
    """What a lookup has of the `Embedding` whose place it takes."""
    return {"name": layer.name, "mask_zero": bool(layer.mask_zero), "trainable": bool(layer.trainable)}


def _by_codec(codecs: Mapping[str, Codec]) -> dict[Codec, tuple[str, ...]]:
    """Tables of the schema that one codec stores: one lookup for all of them."""
    return {codec: tuple(t for t, own in codecs.items() if own == codec) for codec in dict.fromkeys(codecs.values())}


def _block(
    rows: NDArray[np.float32],
    counts: RowCounts,
    codec: Codec,
    tables: tuple[str, ...],
    merged: MergedTable,
    seed: int,
) -> tuple[Block, dict[str, Any]]:
    parts = [slice(merged.starts[table], merged.starts[table] + merged.sizes[table]) for table in tables]
    own = np.concatenate([rows[part] for part in parts])
    seen = counts.both(lambda values: np.concatenate([values[part] for part in parts]))
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
