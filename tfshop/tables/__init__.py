"""Codecs for embedding tables: how rows are stored and looked up. One row each in `CODECS`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tfshop.tables.blocks import BlockLookup
from tfshop.tables.codec import Codec, CodedTable, RowCounts
from tfshop.tables.counts import expected_counts, row_counts
from tfshop.tables.float_table import Float16, Float32
from tfshop.tables.grouped import Grouped
from tfshop.tables.integer_table import Int1, Int2, Int3, Int4, Int8
from tfshop.tables.lookup import TableLookup, lookup_layers
from tfshop.tables.low_rank_table import LowRankTable
from tfshop.tables.mem_com import MemCom
from tfshop.tables.nested import resolved
from tfshop.tables.product_quantization import ProductQuantization
from tfshop.tables.rare_rows import RareRows
from tfshop.tables.residual_quantization import ResidualQuantization
from tfshop.tables.rowwise import RowwiseLookup
from tfshop.tables.shared_rows import Hashed, QuotientRemainder

CODECS: Mapping[str, Any] = MappingProxyType(
    {
        "Float32": Float32,
        "Float16": Float16,
        "Int8": Int8,
        "Int4": Int4,
        "Int3": Int3,
        "Int2": Int2,
        "Int1": Int1,
        "RowwiseLookup": RowwiseLookup,
        "ProductQuantization": ProductQuantization,
        "ResidualQuantization": ResidualQuantization,
        "Grouped": Grouped,
        "RareRows": RareRows,
        "LowRankTable": LowRankTable,
        "Hashed": Hashed,
        "QuotientRemainder": QuotientRemainder,
        "MemCom": MemCom,
    }
)

__all__ = [
    "CODECS",
    "BlockLookup",
    "Codec",
    "CodedTable",
    "Float16",
    "Float32",
    "Grouped",
    "Hashed",
    "Int1",
    "Int2",
    "Int3",
    "Int4",
    "Int8",
    "LowRankTable",
    "MemCom",
    "ProductQuantization",
    "QuotientRemainder",
    "RareRows",
    "ResidualQuantization",
    "RowCounts",
    "RowwiseLookup",
    "TableLookup",
    "expected_counts",
    "lookup_layers",
    "resolved",
    "row_counts",
]
