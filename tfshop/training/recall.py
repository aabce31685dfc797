"""Exact retrieval over all items, counted: where the item that was wanted comes among them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tfshop._console import progress
from tfshop.errors import DataError

CHUNK_SCORES = 1 << 24  # 64 MiB of scores at a time
LONG_JOB = 2_000_000_000  # multiplications, about two seconds


def ranks(queries: NDArray[np.float32], items: NDArray[np.float32], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rank of each query's wanted item among all items by inner product, from 1; ties count against it.

    Args:
        queries: float32 (num_queries, width).
        items: float32 (num_items, width).
        wanted: int64 (num_queries,), rows of `items`.

    Raises:
        DataError: For vectors that are not finite.

    Example:
        >>> ranks(np.float32([[1, 0]]), np.float32([[0.2, 0], [0.9, 0], [0.2, 1]]), np.array([0])).tolist()
        [3]
    """
    for name, vectors in {"queries": queries, "items": items}.items():
        if not np.isfinite(vectors).all():
            raise DataError(f"{name} hold vectors that are not finite. Expected numbers. Fix: look at their inputs.")
    found = np.empty(len(queries), np.int64)
    rows = max(1, CHUNK_SCORES // max(len(items), 1))
    starts = range(0, len(queries), rows)
    is_long = queries.size * len(items) > LONG_JOB

    def count(start: int) -> None:
        part = slice(start, start + rows)
        scores = queries[part] @ items.T
        own = np.take_along_axis(scores, wanted[part, None], axis=1)
        found[part] = (scores >= own).sum(axis=1)

    if not is_long:
        for start in starts:
            count(start)
        return found
    with progress("ranking all items", len(starts)) as advance:
        for start in starts:
            count(start)
            advance()
    return found


def recall_at(positions: NDArray[np.int64], ks: Sequence[int]) -> dict[int, float]:
    """Share of wanted items that are among the first k, for each k.

    Example:
        >>> recall_at(np.array([1, 5, 20]), (1, 10))
        {1: 0.3333333333333333, 10: 0.6666666666666666}
    """
    return {k: float((positions <= k).mean()) for k in ks}
