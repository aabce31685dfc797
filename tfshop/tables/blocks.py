"""Blocks of one merged table, each stored by a codec of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras, tf
from tfshop.tables.codec import CodedTable, Fields
from tfshop.tables.lookup import TableLookup
from tfshop.tables.nested import NestedLookup, columns_of, constant_of, fields_config, lookup_config, rows_of
from tfshop.tables.tuning import TunedTable


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


def block_layer(blocks: Sequence[Block], num_rows: int, fields: Fields, *, name: str, **settings: Any) -> TableLookup:
    """One lookup for all blocks; it takes the ids of the merged table.

    Args:
        blocks: Together they have every column once.
        num_rows: Of the merged table.
        fields: Of the merged table.
        name: Of the layer.
        **settings: As `TableLookup` takes them.
    """
    served, inner, arrays = {}, {}, {}
    for number, block in enumerate(blocks):
        key = f"block_{number}"
        inner[key] = lookup_config(block.coded)
        arrays.update({f"{key}_{name}": array for name, array in block.coded.arrays.items()})
        columns, shifts = list(map(int, block.columns)), list(map(int, block.shifts))
        served[key] = {"columns": columns, "shifts": shifts, "parts": [list(map(int, part)) for part in block.parts]}
    made = BlockLookup(
        num_rows,
        blocks[0].coded.dimension,
        blocks=served,
        inner=inner,
        fields=fields_config(fields),
        name=name,
        **settings,
    )
    return made.filled(arrays)


@keras.utils.register_keras_serializable(package="tfshop")
class BlockLookup(NestedLookup):
    """Columns of ids through the lookups of their blocks, put back in order; see `NestedLookup`: the blocks inside.

    Args:
        num_rows: Rows of the merged table.
        dimension: Numbers a row.
        blocks: Of each lookup inside the "columns" it serves, the "shifts" of their ids, and the "parts" of the merged
            table that it holds.
        **kwargs: As `NestedLookup` takes them.
    """

    def __init__(
        self, num_rows: int, dimension: int, *, blocks: Mapping[str, Mapping[str, Any]], **kwargs: Any
    ) -> None:
        super().__init__(num_rows, dimension, **kwargs)
        self._blocks = {key: dict(block) for key, block in blocks.items()}

    def decoded(self, ids: Any) -> Any:
        """One lookup a block, joined along the columns."""
        pieces, order = [], []
        for key, block in self._blocks.items():
            rows = columns_of(ids, block["columns"]) + constant_of(block["shifts"], ids)
            pieces.append(self.decoder(key).decoded(rows))
            order += block["columns"]
        return rows_of(tf.concat(pieces, axis=-2), [order.index(column) for column in range(len(order))])

    def table(self) -> NDArray[np.float32]:
        """All rows as they are looked up, (num_rows, dimension)."""
        made = np.zeros((self.num_rows, self.dimension), dtype=np.float32)
        for key, block in self._blocks.items():
            rows, first = self.part(key).table(), 0
            for start, size in block["parts"]:
                made[start : start + size] = rows[first : first + size]
                first += size
        return made

    def tuned_parts(self, rows: NDArray[np.float32]) -> Mapping[str, TunedTable | None]:
        """Each block with its rows."""
        own = {
            key: np.concatenate([rows[start : start + size] for start, size in block["parts"]])
            for key, block in self._blocks.items()
        }
        return {key: self.part(key).tuned(some) for key, some in own.items()}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "blocks": {key: dict(block) for key, block in self._blocks.items()}}
