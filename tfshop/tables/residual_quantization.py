"""Residual quantization: a row is the sum of one centroid of each codebook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tfshop.tables.beam import best_sums
from tfshop.tables.codebook_lookup import Codes, Floats
from tfshop.tables.codebooks import CodebookCodec, Weights
from tfshop.tables.kmeans import group_sums, kmeans, telling_sample

SAMPLE = 32_768  # rows that codebooks are found on
ROUNDS = 5  # of codes for codebooks and codebooks for codes
ROWS_AT_ONCE = 65_536
RIDGE = 1e-3  # of a code's mean weight: pulls centroids that few rows use towards where they were


@dataclass(frozen=True)
class ResidualQuantization(CodebookCodec):
    """A byte a codebook, whose centroids are as wide as the row and added up; see `CodebookCodec`.

    Less error than product quantization at equal bytes a row, larger codebooks (`codes` times as large), and slower to
    encode.

    Example:
        >>> ResidualQuantization(codes=2).num_bytes(10_000, 16)
        52776

    References:
        Chen, Guan and Wang, Approximate Nearest Neighbor Search by Residual Vector Quantization, 2010; Babenko and
        Lempitsky, Additive Quantization for Extreme Vector Compression, 2014 (beam search, least squares).
    """

    name: ClassVar[str] = "ResidualQuantization"
    join: ClassVar[str] = "added"

    codes: int = 2

    def cut(self, dimension: int) -> tuple[int, int]:
        """All codes, each as wide as the row."""
        return self.codes, dimension

    def learned(self, rows: Floats, weights: Weights, size: int, seed: int) -> tuple[Floats, Codes]:
        """Codebooks one after the other on what is left, then all by least squares in turns with the codes."""
        ids, seen = telling_sample(rows, weights, SAMPLE, np.random.default_rng(seed))
        books = _first_books(rows[ids], seen, (self.codes, size), seed)
        for _ in range(ROUNDS):
            books = refitted(rows[ids], seen, books, best_sums(rows[ids], books))
        codes = best_sums(rows, books)
        return refitted(rows, weights, books, codes), codes


def refitted(rows: Floats, weights: Weights, books: Floats, codes: Codes) -> Floats:
    """Codebooks of least squares for given codes, rows counting by their weights."""
    number, size, dimension = books.shape
    normal = np.zeros((number, number, size * size))
    sums = np.zeros((number, size, dimension))
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        left = rows[part] - sum(book[codes[part, code]] for code, book in enumerate(books))
        for one in range(number):
            sums[one] += group_sums(left, weights[part], codes[part, one], size)
            for other in range(number):
                pairs = codes[part, one].astype(np.int64) * size + codes[part, other]
                normal[one, other] += np.bincount(pairs, weights=weights[part], minlength=size * size)
    matrix = normal.reshape(number, number, size, size).transpose(0, 2, 1, 3).reshape(number * size, number * size)
    matrix[np.diag_indices_from(matrix)] += max(RIDGE * weights.sum() / size, 1e-30)
    moved = np.linalg.solve(matrix, sums.reshape(number * size, dimension))
    return np.asarray(books + moved.reshape(books.shape), dtype=np.float32)


def _first_books(rows: Floats, weights: Weights, shape: tuple[int, int], seed: int) -> Floats:
    number, size = shape
    books = np.empty((number, size, rows.shape[1]), dtype=np.float32)
    for code in range(number):
        left = rows.copy()
        if code:
            codes = best_sums(rows, books[:code])
            for before in range(code):
                left -= books[before, codes[:, before]]
        books[code] = kmeans(left, weights, size, seed=seed + code)
    return books
