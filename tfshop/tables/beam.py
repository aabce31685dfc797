"""Sums of centroids that come near to rows: a beam search over codebooks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
BEAM = 8  # sums that are followed at once
CHUNK = 128  # rows whose sums are compared at once, so that they stay in the cache


def best_sums(rows: Floats, books: Floats) -> NDArray[np.uint8]:
    """Codes of small error for each row, by a beam over the codebooks in order.

    Args:
        rows: float32 (n, dimension).
        books: float32 (codes, size, dimension).

    Returns:
        uint8 (n, codes).
    """
    codes = np.empty((len(rows), len(books)), dtype=np.uint8)
    for start in range(0, len(rows), CHUNK):
        codes[start : start + CHUNK] = _beam(rows[start : start + CHUNK], books)
    return codes


def _beam(rows: Floats, books: Floats) -> NDArray[np.int64]:
    number, size, dimension = books.shape
    each = np.arange(len(rows))[:, None]
    left = rows[:, None]  # (rows, beam, dimension): what the sums so far leave over
    picked = np.empty((len(rows), 1, 0), dtype=np.int64)
    for code, book in enumerate(books):
        own = np.square(left).sum(axis=2)[..., None] * np.float32(0.5) + np.square(book).sum(axis=1) * np.float32(0.5)
        errors = own - (left.reshape(-1, dimension) @ book.T).reshape(*left.shape[:2], size)
        errors = errors.reshape(len(rows), -1)
        width = 1 if code == number - 1 else min(BEAM, errors.shape[1])
        best = errors.argmin(axis=1)[:, None] if width == 1 else np.argpartition(errors, width - 1, axis=1)[:, :width]
        sums, codes = np.divmod(best, size)
        left = left[each, sums] - book[codes]
        picked = np.concatenate([picked[each, sums], codes[..., None]], axis=2)
    return picked[:, 0]
