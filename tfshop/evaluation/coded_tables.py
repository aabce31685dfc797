"""Codes of tables in a file: every byte of them, or the rows they stand for are others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop.errors import AuditError
from tfshop.runtime.graph import Graph
from tfshop.tables.lookup import lookup_layers


def require_codes(graph: Graph, model: Any) -> None:
    """Refuse a file that does not hold the codes of a model's tables bit for bit.

    Args:
        graph: Of the file.
        model: The Keras model it was converted from.

    Raises:
        AuditError: Naming the table.
    """
    for name, layer in lookup_layers(model).items():
        for key, codes in layer.stored().items():
            if codes.dtype == np.uint8 and not _holds(graph, codes):
                raise AuditError(
                    f"table {name!r}: its {key} ({codes.shape[0]:,} rows of {codes.shape[-1]} bytes) are not in the "
                    "file as they were coded. Expected every byte of them. Fix: Export('int8') or Export('float32'), "
                    "which keep lookups apart, and no edits of the file."
                )


def _holds(graph: Graph, codes: NDArray[np.uint8]) -> bool:
    wanted = codes.reshape(-1)
    return any(
        np.array_equal(tensor.data.reshape(-1).view(np.uint8), wanted)
        for tensor in graph.tensors
        if tensor.data is not None and tensor.data.nbytes == wanted.nbytes
    )
