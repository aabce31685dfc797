"""Where the bytes and the zeros of a file are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop.runtime.elements import Tensor
from tfshop.runtime.graph import Graph, read_graph
from tfshop.runtime.walks import LookupTable, constant_behind, lookup_tables

# Operators that multiply by weights: positions among their inputs where a constant is a weight matrix.
WEIGHTS: Mapping[str, tuple[int, ...]] = {
    "FULLY_CONNECTED": (1,),
    "BATCH_MATMUL": (0, 1),
    "CONV_2D": (1,),
    "DEPTHWISE_CONV_2D": (1,),
    "TRANSPOSE_CONV": (1,),
    "CONV_3D": (1,),
}
# Names the converter gives to constants it lost the name of.
_NAMELESS = ("arith.constant", "tfl.pseudo_", "pseudo_")


@dataclass(frozen=True)
class TensorSparsity:
    """How many weights of one constant are zero.

    Args:
        name: Of the tensor, or of the layer's output where the converter dropped it.
        shape: As stored.
        zeros: Weights equal to zero after dequantization.
        size: All weights.
    """

    name: str
    shape: tuple[int, ...]
    zeros: int
    size: int

    @property
    def sparsity(self) -> float:
        """Share of zero weights, in [0, 1]."""
        return self.zeros / max(self.size, 1)


def tables_in_graph(content: bytes) -> tuple[LookupTable, ...]:
    """The tables a file looks ids up in.

    Raises:
        ArtifactError: For bytes that are not a TFLite file.

    Example:
        >>> [(table.tensor.dtype, table.tensor.shape) for table in tables_in_graph(content)]  # doctest: +SKIP
        [('int8', (46210, 16))]
    """
    return lookup_tables(read_graph(content))


def bytes_by_part(content: bytes) -> dict[str, int]:
    """Where a file's bytes are: they sum to its length.

    Returns:
        "tables": constants that lookups read; "dense": weights and biases of layers that multiply; both with
        their scales. "rest": the graph itself, small constants, padding.

    Raises:
        ArtifactError: For bytes that are not a TFLite file.
    """
    graph = read_graph(content)
    tables = {table.tensor.index: table.tensor for table in lookup_tables(graph)}
    taken = {tensor.buffer for tensor in tables.values()}
    dense = {
        tensor.index: tensor
        for tensor in layer_constants(graph)
        if tensor.index not in tables and tensor.buffer not in taken
    }
    sizes = {"tables": _stored_bytes(tables.values()), "dense": _stored_bytes(dense.values())}
    return {**sizes, "rest": len(content) - sum(sizes.values())}


def sparsity_by_tensor(content: bytes) -> tuple[TensorSparsity, ...]:
    """Share of zeros of each weight matrix, in order of use; biases and tables are not counted.

    A quantized weight is zero where it equals the zero point, also if it was small rather than zero before.

    Raises:
        ArtifactError: For bytes that are not a TFLite file.
    """
    graph = read_graph(content)
    tables = {table.tensor.index for table in lookup_tables(graph)}
    weights = {t.index: (t, name) for t, name in _weights(graph) if t.index not in tables}
    return tuple(_sparsity(tensor, name) for tensor, name in weights.values())


def count_zeros(content: bytes) -> tuple[int, int]:
    """Zero weights and all weights of the layers that multiply; their ratio is the file's sparsity.

    Raises:
        ArtifactError: For bytes that are not a TFLite file.
    """
    rows = sparsity_by_tensor(content)
    return sum(row.zeros for row in rows), sum(row.size for row in rows)


def zero_rows(table: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows of a table (rows, width) are zero throughout: bool (rows,).

    Example:
        >>> zero_rows(np.array([[0.0, 0.0], [0.0, 0.1]])).tolist()
        [True, False]
    """
    return np.asarray(~np.any(table.reshape(len(table), -1), axis=1))


def _stored_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of these constants and their scales, each shared buffer once."""
    tensors = tuple(tensors)
    buffers = {tensor.buffer: tensor.size_bytes for tensor in tensors}
    return sum(buffers.values()) + sum(tensor.parameter_bytes for tensor in tensors)


def layer_constants(graph: Graph) -> Iterator[Tensor]:
    """Constants that layers which multiply read: weights and biases."""
    for operator in graph.operators:
        if operator.kind in WEIGHTS:
            # Input shapes of a TRANSPOSE_CONV and the like are a few bytes; they may stand with the weights.
            candidates = (constant_behind(graph, index) for index in operator.inputs)
            yield from (tensor for tensor in candidates if tensor is not None)


def _weights(graph: Graph) -> Iterator[tuple[Tensor, str]]:
    """Weight matrices and a name a reader will recognise."""
    for operator in graph.operators:
        for position in WEIGHTS.get(operator.kind, ()):
            tensor = constant_behind(graph, operator.inputs[position])
            if tensor is not None:
                nameless = not tensor.name or tensor.name.startswith(_NAMELESS)
                yield tensor, graph.tensors[operator.outputs[0]].name if nameless else tensor.name


def _sparsity(tensor: Tensor, name: str) -> TensorSparsity:
    size = int(np.prod(tensor.shape, dtype=np.int64))
    if tensor.is_sparse and tensor.data is not None:
        zeros = size - int(np.count_nonzero(tensor.data))
    else:
        zeros = int(np.count_nonzero(tensor.stored() == tensor.zero_levels()))
    return TensorSparsity(name, tensor.shape, zeros, size)
