"""One operator that looks rows up, in the place of those that a converter has for the same numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfshop.errors import ExportError
from tfshop.numerics.integer_rows import IntegerRows
from tfshop.runtime.elements import Operator, Tensor
from tfshop.runtime.graph import Graph, read_graph
from tfshop.runtime.structure import OpenFile
from tfshop.runtime.walks import constant_behind

VERSION = 4  # of EMBEDDING_LOOKUP: a scale a row, and fewer than eight bits
FLOAT_BITS = 8


@dataclass(frozen=True, eq=False)
class Chain:
    """From the look-up of codes to the product with scales.

    Attributes:
        product: The operator that gives the rows.
        ids: Tensor of the ids, of one dimension.
        codes: Tensor of the codes.
        table: What they stand for.
    """

    product: Operator
    ids: int
    codes: int
    table: IntegerRows


def with_integer_rows(content: bytes, tables: Sequence[IntegerRows]) -> bytes:
    """The file with EMBEDDING_LOOKUP in the place of each GATHER of codes, its arithmetic and its product with scales.

    Ends, names and all other tensors stay as they are.

    Args:
        content: As the converter left it, the lookups in float.
        tables: Whose codes are in it, byte for byte.

    Raises:
        ExportError: For a table that the file does not look up so.
    """
    file = OpenFile(content)
    chains = [chain for chain in _chains(read_graph(content), tables) if _is_plain(file, chain)]
    for table in tables:
        if not any(np.array_equal(chain.table.codes, table.codes) for chain in chains):
            raise ExportError(
                f"a table of {table.shape[0]:,} rows of {table.bits} bits is not looked up in the converted file by "
                "GATHER and one product in float. Expected the operators of RowwiseLookup as float32 and int8 files "
                "have them. Fix: Export('int8') or Export('float32'), or another codec such as Int8()."
            )
    held: dict[tuple[int, int], int] = {}
    for chain in chains:
        key = (chain.codes, id(chain.table))
        held[key] = held.get(key) or _table(file, chain)
        _replace(file, chain, held[key])
    return file.to_bytes()


def _chains(graph: Graph, tables: Sequence[IntegerRows]) -> Iterator[Chain]:
    for gather in graph.operators:
        if gather.kind != "GATHER":
            continue
        ids, codes = gather.inputs[1], graph.tensors[gather.inputs[0]]
        candidates = [table for table in tables if _holds(codes, table)]
        if candidates and len(graph.tensors[ids].shape) == 1:
            for product, scales in _products(graph, gather):
                table = min(candidates, key=lambda own: _gap(_scales(graph, scales), own))
                yield Chain(product, ids, codes.index, table)


def _holds(tensor: Tensor, table: IntegerRows) -> bool:
    is_alike = tensor.data is not None and tensor.dtype == "uint8" and tensor.shape == table.codes.shape
    return is_alike and np.array_equal(tensor.data, table.codes)  # type: ignore[arg-type]


def _products(graph: Graph, gather: Operator) -> Iterator[tuple[Operator, int]]:
    """Products of what is looked up, after arithmetic with constants, with something that is none; and that input."""
    computed = {gather.outputs[0]}
    for operator in graph.operators[gather.index + 1 :]:
        if not computed & set(operator.inputs):
            continue
        others = [i for i in operator.inputs if i not in computed and constant_behind(graph, i) is None]
        if not others:
            computed.update(operator.outputs)
        elif operator.kind == "MUL" and len(others) == 1 and graph.tensors[operator.outputs[0]].dtype == "float32":
            yield operator, others[0]


def _is_plain(file: OpenFile, chain: Chain) -> bool:
    """Whether the product is nothing but a product: a converter may put an activation into it."""
    options = file.operators[chain.product.index].builtinOptions
    return bool(options.fusedActivationFunction == schema.ActivationFunctionType.NONE)


def _scales(graph: Graph, index: int) -> Any:
    """The scales behind a factor as numbers; None where they are not looked up in a constant."""
    producer = graph.producers.get(index)
    while producer is not None and producer.kind != "GATHER":
        producer = graph.producers.get(producer.inputs[0])
    stored = None if producer is None else constant_behind(graph, producer.inputs[0])
    if stored is None or stored.data is None:
        return None
    return stored.data.view(np.float16).astype(np.float32) if stored.dtype == "int16" else stored.values()


def _gap(scales: Any, table: IntegerRows) -> float:
    """How far scales are from those of a table: two tables may have the same codes."""
    if scales is None or scales.size != table.scales.size:
        return float("inf")
    return float(np.abs(scales.reshape(-1) - table.scales.astype(np.float32)).sum())


def _table(file: OpenFile, chain: Chain) -> int:
    """A tensor on the same bytes, with types and scales that the operator reads."""
    table, quantization = chain.table, schema.QuantizationParametersT()
    index, tensor = file.add(chain.codes, table.shape, f"INT{table.bits}")
    tensor.quantization = quantization
    if table.bits == FLOAT_BITS:
        quantization.scale = np.ascontiguousarray(table.scales)
        quantization.zeroPoint = np.zeros(table.shape[0], dtype=np.int64)
        return index
    scales, stored = file.add(chain.codes, (table.shape[0], 1), "FLOAT16")
    stored.name, stored.buffer = tensor.name + b"_scales", file.hold(table.scales)
    quantization.detailsType = schema.QuantizationDetails.BlockwiseQuantization
    quantization.details = schema.BlockwiseQuantizationT(scales=scales, zeroPoints=-1, blockSize=table.shape[1])
    return index


def _replace(file: OpenFile, chain: Chain, table: int) -> None:
    """Let the operator give what the product gave; what led to the product is read by nobody then."""
    operator = file.operators[chain.product.index]
    operator.opcodeIndex = file.kind("EMBEDDING_LOOKUP", VERSION)
    operator.inputs = np.array([chain.ids, table], dtype=np.int32)
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.NONE, None
