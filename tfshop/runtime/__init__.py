"""LiteRT: score a file by input name, time it, and look inside it. No TensorFlow is needed here."""

from __future__ import annotations

from tfshop.runtime.elements import Operator, Tensor
from tfshop.runtime.graph import Graph, read_graph
from tfshop.runtime.inputs import FileInput
from tfshop.runtime.inventory import (
    TensorSparsity,
    bytes_by_part,
    count_zeros,
    sparsity_by_tensor,
    tables_in_graph,
    zero_rows,
)
from tfshop.runtime.latency import benchmark, compare_latency
from tfshop.runtime.latency_types import Latency, LatencyRow
from tfshop.runtime.multiplies import count_multiplies
from tfshop.runtime.scorer import Scorer
from tfshop.runtime.walks import IdPath, LookupTable, constant_behind, lookup_tables, walk_from_input

__all__ = [
    "FileInput",
    "Graph",
    "IdPath",
    "Latency",
    "LatencyRow",
    "LookupTable",
    "Operator",
    "Scorer",
    "Tensor",
    "TensorSparsity",
    "benchmark",
    "bytes_by_part",
    "compare_latency",
    "constant_behind",
    "count_multiplies",
    "count_zeros",
    "lookup_tables",
    "read_graph",
    "sparsity_by_tensor",
    "tables_in_graph",
    "walk_from_input",
    "zero_rows",
]
