"""Rows as codes of a byte that point into codebooks: what the codecs of that kind share."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tfshop.errors import PlanError
from tfshop.tables.codebook_lookup import JOINS, CodebookLookup, Codes, Floats, Layout, array_shapes, rows_of
from tfshop.tables.codec import ALONE, CHUNK, CodedTable, Counts, Fields, error_weights, require_table
from tfshop.tables.lookup import TableLookup
from tfshop.tables.scales import levels_of, num_levels

CODEBOOKS = ("shared", "field")
MOST_CENTROIDS = 256
Weights = NDArray[np.float64]


@dataclass(frozen=True)
class CodebookCodec:
    """A row is what its codes point at.

    Args:
        codes: Bytes a row.
        centroids: Of a codebook, at most 256; a table or field of fewer rows has as many as rows.
        codebooks: "shared" by the fields of a merged table, or one set for each "field", at its own bytes. A code's
            codebook follows from the column of ids that it comes from, so rows cost no more.
        scale: "row": one byte more a row, a logarithmic step, and codes for the direction alone. None: without.

    Raises:
        PlanError: For a value out of range.
    """

    name: ClassVar[str]
    join: ClassVar[str]

    codes: int = 4
    centroids: int = MOST_CENTROIDS
    codebooks: str = "shared"
    scale: str | None = None

    def __post_init__(self) -> None:
        if not _whole(self.codes) or self.codes < 1:
            raise PlanError(f"codes is {self.codes!r}. Expected bytes a row, at least 1. Fix: codes=4.")
        if not _whole(self.centroids) or not 2 <= self.centroids <= MOST_CENTROIDS:  # noqa: PLR2004
            raise PlanError(
                f"centroids is {self.centroids!r}. Expected 2 to {MOST_CENTROIDS}, which a byte can tell apart. Fix: "
                f"centroids={MOST_CENTROIDS}."
            )
        if self.codebooks not in CODEBOOKS:
            raise PlanError(
                f"codebooks is {self.codebooks!r}. Expected one of {', '.join(CODEBOOKS)}. Fix: codebooks='shared'."
            )
        if self.scale not in (None, "row"):
            raise PlanError(f"scale is {self.scale!r}. Expected 'row' or None. Fix: leave it out.")

    @abstractmethod
    def cut(self, dimension: int) -> tuple[int, int]:
        """Codes of a row, and numbers a centroid."""

    @abstractmethod
    def learned(self, rows: Floats, weights: Weights, size: int, seed: int) -> tuple[Floats, Codes]:
        """Codebooks (codes, size, width) for `rows`, and the codes of each (len(rows), codes)."""

    def layout(self, num_rows: int, dimension: int, fields: Fields) -> Layout:
        """Where codebooks stand."""
        codes, width = self.cut(dimension)
        sizes = tuple(min(self.centroids, part.stop - part.start) for part in self._parts(num_rows, fields))
        shared = None if fields.columns is None else (0,) * len(fields.columns)
        return Layout(dimension, codes, width, sizes, fields.columns if len(sizes) > 1 else shared)

    def num_bytes(self, num_rows: int, dimension: int, fields: Fields = ALONE) -> int:
        """Codes, codebooks and where each starts; with a scale a byte a row and the levels that it means."""
        shapes = array_shapes(num_rows, self.layout(num_rows, dimension, fields), scaled=self.scale is not None)
        return sum(int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in shapes.values())

    def encode(self, rows: Floats, counts: Counts = None, *, seed: int = 0, fields: Fields = ALONE) -> CodedTable:
        """Learn codebooks from the rows, and point at the nearest."""
        require_table(self, rows, counts)
        rows = np.asarray(rows, dtype=np.float32)
        weights = error_weights(counts, len(rows))
        layout = self.layout(rows.shape[0], rows.shape[1], fields)
        codes: Codes = np.empty((len(rows), layout.codes + (self.scale is not None)), dtype=np.uint8)
        books = []
        parts = zip(self._parts(len(rows), fields), layout.sizes, strict=True)
        with threadpool_limits(limits=1, user_api="blas"):  # so small a product is slower on several
            for part, size in parts:
                own = _directions(rows[part], weights[part]) if self.scale else (rows[part], weights[part])
                book, codes[part, : layout.codes] = self.learned(*own, size, seed)
                books.append(book.reshape(-1, layout.width))
        joined = np.concatenate(books)
        arrays: dict[str, NDArray[Any]] = {"codes": codes, "codebooks": joined, "starts": layout.by_column}
        if self.scale is not None:
            codes[:, -1], arrays["levels"] = self._lengths(rows, codes, joined, layout, fields)
        return CodedTable.of(self, rows, arrays, fields=fields)

    def decode(self, coded: CodedTable, ids: NDArray[np.int64]) -> Floats:
        """Rows by id."""
        layout = self.layout(coded.num_rows, coded.dimension, coded.fields)
        return rows_of(coded.arrays, layout, coded.fields, ids, join=self.join)

    def layer(self, coded: CodedTable, **settings: Any) -> TableLookup:
        """The lookup."""
        layout = self.layout(coded.num_rows, coded.dimension, coded.fields)
        made = CodebookLookup(
            coded.num_rows,
            coded.dimension,
            cut=(layout.codes, layout.width),
            sizes=layout.sizes,
            columns=layout.columns,
            starts=coded.fields.starts,
            join=self.join,
            scaled=self.scale is not None,
            **settings,
        )
        return made.filled(coded.arrays)

    def _parts(self, num_rows: int, fields: Fields) -> list[slice]:
        """Rows that have codebooks of their own."""
        own = self.codebooks == "field" and fields.columns is not None
        return fields.slices(num_rows) if own else [slice(0, num_rows)]

    def _lengths(
        self, rows: Floats, codes: Codes, books: Floats, layout: Layout, fields: Fields
    ) -> tuple[Codes, Floats]:
        """Of least squares along what the codes point at: the level of each row, and the levels."""
        lengths = np.empty(len(rows))
        for start in range(0, len(rows), CHUNK):
            ids = np.arange(start, min(start + CHUNK, len(rows)))
            made = JOINS[self.join](books, layout.indices(codes[ids], fields, ids))[:, : layout.dimension]
            square = np.square(made).sum(axis=1, dtype=np.float64)
            lengths[ids] = (made * rows[ids]).sum(axis=1, dtype=np.float64) / np.where(square, square, 1)
        lengths = np.maximum(lengths, 0)
        levels = levels_of(lengths, num_levels(len(rows)))
        return np.searchsorted((levels[1:] + levels[:-1]) / 2, lengths).astype(np.uint8), levels


def _directions(rows: Floats, weights: Weights) -> tuple[Floats, Weights]:
    """Rows of length one, and what an error in one weighs."""
    squares = np.square(rows).sum(axis=1, dtype=np.float64)
    lengths = np.sqrt(np.where(squares, squares, 1)).astype(np.float32)
    return rows / lengths[:, None], weights * squares


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
