"""Blocks of one merged table, each stored by a codec of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfshop._keras import keras, tf
from tfshop.tables.codec import CodedTable
from tfshop.tables.lookup import TableLookup


@dataclass(frozen=True, eq=False)
class Block:
    """Rows of a merged table, and who looks them up.

    Attributes:
        coded: The rows, stored.
        columns: Columns of the ids that point into them.
        shifts: What is added to each of those columns, from rows of the merged table to rows of the block.
    """

    coded: CodedTable
    columns: Sequence[int]
    shifts: Sequence[int]


def block_layer(blocks: Sequence[Block], num_rows: int, *, name: str, mask_zero: bool = False) -> TableLookup:
    """One lookup for all blocks; it takes the ids of the merged table.

    Args:
        blocks: Together they have every column once.
        num_rows: Of the merged table.
        name: Of the layer.
        mask_zero: As `Embedding` has it.
    """
    parts, arrays = [], {}
    for number, block in enumerate(blocks):
        layer = block.coded.layer(f"block_{number}")
        arrays.update({f"block_{number}_{key}": value for key, value in layer.stored().items()})
        kind = keras.saving.get_registered_name(type(layer))
        columns, shifts = list(map(int, block.columns)), list(map(int, block.shifts))
        parts.append({"kind": kind, "config": layer.get_config(), "columns": columns, "shifts": shifts})
    dimension = blocks[0].coded.dimension
    return BlockLookup(num_rows, dimension, blocks=parts, name=name, mask_zero=mask_zero).filled(arrays)


@keras.utils.register_keras_serializable(package="tfshop")
class BlockLookup(TableLookup):
    """Columns of ids through the lookups of their blocks, put back in order; see `TableLookup`.

    Args:
        num_rows: Rows of the merged table.
        dimension: Numbers a row.
        blocks: "kind" and "config" of each lookup, "columns" it serves and the "shifts" of their ids.
        **kwargs: As `TableLookup` takes them.
    """

    def __init__(self, num_rows: int, dimension: int, *, blocks: Sequence[Mapping[str, Any]], **kwargs: Any) -> None:
        super().__init__(num_rows, dimension, **kwargs)
        self._blocks = [dict(block) for block in blocks]

    def _decoder(self, number: int) -> TableLookup:
        block = self._blocks[number]
        made: TableLookup = keras.saving.get_registered_object(block["kind"]).from_config(dict(block["config"]))
        return made

    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], str]]:
        """Those of the blocks."""
        numbers = range(len(self._blocks))
        return {f"block_{n}_{key}": value for n in numbers for key, value in self._decoder(n).arrays().items()}

    def decoded(self, ids: Any) -> Any:
        """One lookup a block, joined along the columns."""
        pieces, order = [], []
        for number, block in enumerate(self._blocks):
            decoder = self._decoder(number)
            decoder._arrays = {key: self._arrays[f"block_{number}_{key}"] for key in decoder.arrays()}
            rows = _columns(ids, block["columns"]) + tf.constant(block["shifts"], dtype=ids.dtype)
            pieces.append(decoder.decoded(rows))
            order += block["columns"]
        joined = tf.concat(pieces, axis=-2)
        return _picked(joined, [order.index(column) for column in range(len(order))], axis=-2)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "blocks": [dict(block) for block in self._blocks]}


def _columns(ids: Any, columns: Sequence[int]) -> Any:
    first = columns[0]
    if list(columns) == list(range(first, first + len(columns))):
        return ids[..., first : first + len(columns)]
    return tf.gather(ids, columns, axis=-1)


def _picked(values: Any, order: Sequence[int], *, axis: int) -> Any:
    return values if list(order) == list(range(len(order))) else tf.gather(values, order, axis=axis)
