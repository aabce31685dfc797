"""Blocks of one merged table, each stored by a codec of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras, tf
from tfshop.tables.codec import CodedTable
from tfshop.tables.lookup import TableLookup
from tfshop.tables.tuning import TunedBlocks, TunedFixed, TunedTable


@dataclass(frozen=True, eq=False)
class Block:
    """Rows of a merged table, and who looks them up.

    Attributes:
        coded: The rows, stored.
        columns: Columns of the ids that point into them.
        shifts: What is added to each of those columns, from rows of the merged table to rows of the block.
        parts: First row in the merged table, and how many follow it, of each table in the block.
    """

    coded: CodedTable
    columns: Sequence[int]
    shifts: Sequence[int]
    parts: Sequence[tuple[int, int]]


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
        rows = [list(map(int, part)) for part in block.parts]
        parts.append({"kind": kind, "config": layer.get_config(), "columns": columns, "shifts": shifts, "parts": rows})
    dimension = blocks[0].coded.dimension
    return BlockLookup(num_rows, dimension, blocks=parts, name=name, mask_zero=mask_zero).filled(arrays)


@keras.utils.register_keras_serializable(package="tfshop")
class BlockLookup(TableLookup):
    """Columns of ids through the lookups of their blocks, put back in order; see `TableLookup`.

    Args:
        num_rows: Rows of the merged table.
        dimension: Numbers a row.
        blocks: "kind" and "config" of each lookup, "columns" it serves, the "shifts" of their ids, and the "parts" of
            the merged table that it holds.
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

    def table(self) -> NDArray[np.float32]:
        """All rows as they are looked up, (num_rows, dimension)."""
        made = np.zeros((self.num_rows, self.dimension), dtype=np.float32)
        for number, block in enumerate(self._blocks):
            rows, first = self._filled(number).table(), 0
            for start, size in block["parts"]:
                made[start : start + size] = rows[first : first + size]
                first += size
        return made

    def tuned(self, rows: NDArray[np.float32]) -> TunedTable | None:
        """The blocks that can learn do; None where none can."""
        tables = []
        for number, block in enumerate(self._blocks):
            own = np.concatenate([rows[start : start + size] for start, size in block["parts"]])
            tables.append(self._filled(number).tuned(own))
        if not any(tables):
            return None
        known = [table or TunedFixed(self._filled(number).decoded) for number, table in enumerate(tables)]
        columns, shifts = ([block[key] for block in self._blocks] for key in ("columns", "shifts"))
        return TunedBlocks(known, columns, shifts, name=self.name).masked_as(self.mask_zero)

    def after(self, tuned: Any) -> dict[str, NDArray[Any]]:
        """The arrays of the blocks after they have learned."""
        arrays = self.stored()
        for number, table in enumerate(tuned.blocks):
            if not isinstance(table, TunedFixed):
                own = self._filled(number).after(table)
                arrays.update({f"block_{number}_{key}": value for key, value in own.items()})
        return arrays

    def _filled(self, number: int) -> TableLookup:
        """The lookup of a block, with its arrays."""
        stored, decoder = self.stored(), self._decoder(number)
        return decoder.filled({key: stored[f"block_{number}_{key}"] for key in decoder.arrays()})

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
