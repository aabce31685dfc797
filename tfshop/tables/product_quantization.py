"""Product quantization: rows cut into pieces, each the nearest of 256."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tfshop.tables.codebook_lookup import Codes, Floats
from tfshop.tables.codebooks import CodebookCodec, Weights
from tfshop.tables.kmeans import kmeans, nearest


@dataclass(frozen=True)
class ProductQuantization(CodebookCodec):
    """Rows cut into `codes` pieces of equal width, a byte each; see `CodebookCodec`.

    Where the dimension cannot be cut evenly the pieces are as wide as the widest has to be, and the last is filled up
    with zeros, which cost codebook bytes but no error; a dimension that fewer such pieces cover has fewer codes (9
    numbers in 4 codes: three of three).

    Example:
        >>> ProductQuantization(codes=4).num_bytes(10_000, 16)
        56400

    References:
        Jegou, Douze and Schmid, Product Quantization for Nearest Neighbor Search, 2011.
    """

    name: ClassVar[str] = "ProductQuantization"
    join: ClassVar[str] = "concatenated"

    def cut(self, dimension: int) -> tuple[int, int]:
        """Pieces, and their width."""
        width = -(-dimension // self.codes)
        return -(-dimension // width), width

    def learned(self, rows: Floats, weights: Weights, size: int, seed: int) -> tuple[Floats, Codes]:
        """Codebooks by k-means, each for itself, and the nearest centroids."""
        codes, width = self.cut(rows.shape[1])
        books = np.zeros((codes, size, width), dtype=np.float32)
        made = np.empty((len(rows), codes), dtype=np.uint8)
        for code in range(codes):
            piece = np.ascontiguousarray(rows[:, code * width : (code + 1) * width])
            centroids = kmeans(piece, weights, size, seed=seed)
            books[code, :, : piece.shape[1]] = centroids
            made[:, code] = nearest(piece, centroids)
        return books, made
