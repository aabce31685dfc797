"""Coded tables in a file: every byte of their arrays, or the rows they stand for are others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop.errors import AuditError
from tfshop.runtime.elements import Tensor
from tfshop.runtime.graph import Graph
from tfshop.tables.lookup import lookup_layers

ADDED_OR_MULTIPLIED = (np.float32, np.int32)


def require_codes(graph: Graph, model: Any) -> None:
    """Refuse a file that does not hold the arrays of a model's coded tables bit for bit.

    Codes, steps, codebooks and all else that a lookup stores are constants of the file; beside whole bytes that
    EMBEDDING_LOOKUP reads, steps are the scales of that constant.

    Args:
        graph: Of the file.
        model: The Keras model it was converted from.

    Raises:
        AuditError: Naming the table and the array.
    """
    for name, layer in lookup_layers(model).items():
        for key, array in layer.stored().items():
            if not _is_there(graph, array):
                raise AuditError(
                    f"table {name!r}: its {key} ({array.dtype} of shape {array.shape}) are not in the file as they "
                    "were coded. Expected every bit of them. Fix: Export('int8') or Export('float32'), which keep "
                    "lookups apart, and no edits of the file."
                )


def _is_there(graph: Graph, array: NDArray[Any]) -> bool:
    """Whether a file holds an array; of equal numbers a converter writes one, and none where it changes nothing."""
    if any(_holds(tensor, array) for tensor in graph.tensors):
        return True
    if array.dtype not in ADDED_OR_MULTIPLIED or np.unique(array).size != 1:
        return False
    return array.flat[0] in (0, 1) or any(_holds(tensor, array.reshape(-1)[:1]) for tensor in graph.tensors)


def _holds(tensor: Tensor, array: NDArray[Any]) -> bool:
    """Whether the numbers of a tensor, or its scales or zero points, are those of an array, by any name."""
    return any(
        held is not None and held.nbytes == array.nbytes and np.array_equal(_bytes(held), _bytes(array))
        for held in (tensor.data, tensor.scales, tensor.zero_points)
        if tensor.is_constant
    )


def _bytes(numbers: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(numbers).reshape(-1).view(np.uint8)
