"""Rows as codes of a byte that point into codebooks: what the codecs of that kind share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tfshop._keras import keras, tf
from tfshop.errors import PlanError
from tfshop.tables.codec import ALONE, CHUNK, CodedTable, Counts, Fields, require_table
from tfshop.tables.lookup import TableLookup
from tfshop.tables.scales import levels_of, num_levels

CODEBOOKS = ("shared", "field")
MOST_CENTROIDS = 256
Floats = NDArray[np.float32]
Weights = NDArray[np.float64]
Codes = NDArray[np.uint8]


@dataclass(frozen=True)
class Layout:
    """Where the codebooks stand in the one array that holds them all, so that one operator reads them.

    Attributes:
        codes: Of a row, each with a codebook of its own.
        width: Numbers a centroid.
        sizes: Centroids of a codebook, for each group of rows that has codebooks of its own.
        columns: The group that each column of ids looks up; None for a table of one field.
    """

    codes: int
    width: int
    sizes: tuple[int, ...]
    columns: tuple[int, ...] | None

    @property
    def num_centroids(self) -> int:
        """In all codebooks."""
        return self.codes * sum(self.sizes)

    @property
    def starts(self) -> NDArray[np.int32]:
        """First centroid of each codebook, (groups, codes)."""
        sizes = np.repeat(self.sizes, self.codes)
        return (np.cumsum(sizes) - sizes).reshape(-1, self.codes).astype(np.int32)

    @property
    def by_column(self) -> NDArray[np.int32]:
        """The same for each column of ids, (columns, codes); (codes,) for a table of one field.

        One a column where all columns share codebooks too: the sum with a constant of the codes' own shape is faster.
        """
        return self.starts[0] if self.columns is None else self.starts[list(self.columns)]


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
        return Layout(codes, width, sizes, fields.columns if len(sizes) > 1 else shared)

    def num_bytes(self, num_rows: int, dimension: int, fields: Fields = ALONE) -> int:
        """Codes, codebooks and where each starts; with a scale a byte a row and the levels that it means."""
        shapes = _shapes(num_rows, self.layout(num_rows, dimension, fields), scaled=self.scale is not None)
        return sum(int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in shapes.values())

    def encode(self, rows: Floats, counts: Counts = None, *, seed: int = 0, fields: Fields = ALONE) -> CodedTable:
        """Learn codebooks from the rows, and point at the nearest."""
        require_table(self, rows, counts)
        rows = np.asarray(rows, dtype=np.float32)
        weights = np.ones(len(rows)) if counts is None else counts + 1.0  # what training never saw may still come
        layout = self.layout(*rows.shape, fields)
        codes = np.empty((len(rows), layout.codes + (self.scale is not None)), dtype=np.uint8)
        books = []
        parts = zip(self._parts(len(rows), fields), layout.sizes, strict=True)
        with threadpool_limits(limits=1, user_api="blas"):  # so small a product is slower on several
            for part, size in parts:
                directions, shares = (
                    _directions(rows[part], weights[part]) if self.scale else (rows[part], weights[part])
                )
                book, codes[part, : layout.codes] = self.learned(directions, shares, size, seed)
                books.append(book.reshape(-1, layout.width))
        arrays = {"codes": codes, "codebooks": np.concatenate(books), "starts": layout.by_column}
        if self.scale is not None:
            codes[:, -1], arrays["levels"] = self._lengths(rows, codes, arrays["codebooks"], fields)
        return CodedTable.of(self, rows, arrays, fields=fields)

    def decode(self, coded: CodedTable, ids: NDArray[np.int64]) -> Floats:
        """Rows by id."""
        shape = coded.num_rows, coded.dimension
        codes = coded.arrays["codes"][ids]
        made = self._pointed_at(shape, codes, coded.arrays["codebooks"], coded.fields, ids)
        if "levels" in coded.arrays:
            made = made * coded.arrays["levels"][codes[:, -1]][:, None]
        return np.asarray(made)

    def layer(self, coded: CodedTable, **settings: Any) -> TableLookup:
        """The lookup."""
        layout = self.layout(coded.num_rows, coded.dimension, coded.fields)
        made = CodebookLookup(
            coded.num_rows,
            coded.dimension,
            cut=(layout.codes, layout.width),
            sizes=layout.sizes,
            columns=layout.columns,
            join=self.join,
            scaled=self.scale is not None,
            **settings,
        )
        return made.filled(coded.arrays)

    def _parts(self, num_rows: int, fields: Fields) -> list[slice]:
        """Rows that have codebooks of their own."""
        own = self.codebooks == "field" and fields.columns is not None
        return fields.slices(num_rows) if own else [slice(0, num_rows)]

    def _pointed_at(
        self, shape: tuple[int, int], codes: Codes, books: Floats, fields: Fields, ids: NDArray[np.int64]
    ) -> Floats:
        """What the codes of rows `ids` point at, without scales."""
        layout = self.layout(*shape, fields)
        group = fields.of_rows(ids) if len(layout.sizes) > 1 else np.zeros(len(ids), dtype=np.int64)
        indices = codes[:, : layout.codes] + layout.starts[group]
        return np.asarray(JOINS[self.join](books, indices, shape[1]))

    def _lengths(self, rows: Floats, codes: Codes, books: Floats, fields: Fields) -> tuple[Codes, Floats]:
        """Of least squares along what the codes point at: the level of each row, and the levels."""
        lengths = np.empty(len(rows))
        for start in range(0, len(rows), CHUNK):
            ids = np.arange(start, min(start + CHUNK, len(rows)))
            made = self._pointed_at(rows.shape, codes[ids], books, fields, ids).astype(np.float64)  # type: ignore[arg-type]
            square = np.square(made).sum(axis=1)
            lengths[ids] = (made * rows[ids]).sum(axis=1) / np.where(square, square, 1)
        lengths = np.maximum(lengths, 0)
        levels = levels_of(lengths, num_levels(len(rows)))
        return np.searchsorted((levels[1:] + levels[:-1]) / 2, lengths).astype(np.uint8), levels


@keras.utils.register_keras_serializable(package="tfshop")
class CodebookLookup(TableLookup):
    """Rows of codebooks, see `TableLookup`.

    Args:
        num_rows: Rows of the table.
        dimension: Numbers a row.
        cut: Codes of a row, and numbers a centroid.
        sizes: Centroids of a codebook, for each group of rows that has its own.
        columns: The group of each column of ids, None for a table of one field.
        join: Key of `JOINS`.
        scaled: Whether the last byte of a row is its length.
        **kwargs: As `TableLookup` takes them.
    """

    def __init__(
        self,
        num_rows: int,
        dimension: int,
        *,
        cut: tuple[int, int],
        sizes: tuple[int, ...],
        columns: tuple[int, ...] | None,
        join: str,
        scaled: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_rows, dimension, **kwargs)
        groups = None if columns is None else tuple(map(int, columns))
        self.layout = Layout(int(cut[0]), int(cut[1]), tuple(map(int, sizes)), groups)
        self.join, self.scaled = join, bool(scaled)

    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], str]]:
        """Codes, all codebooks below each other, where each starts, and levels of lengths."""
        return _shapes(self.num_rows, self.layout, scaled=self.scaled)

    def decoded(self, ids: Any) -> Any:
        """What the codes point at."""
        record = tf.gather(self._arrays["codes"], ids)
        if not self.scaled:
            return self._pointed_at(record)
        record, length = tf.split(record, [self.layout.codes, 1], axis=-1)
        return self._pointed_at(record) * tf.gather(self._arrays["levels"], tf.cast(length, tf.int32))

    def _pointed_at(self, codes: Any) -> Any:
        indices = tf.cast(codes, tf.int32) + self._arrays["starts"]
        return GRAPH_JOINS[self.join](self._arrays["codebooks"], indices, self.dimension)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {
            "cut": [self.layout.codes, self.layout.width],
            "sizes": list(self.layout.sizes),
            "columns": None if self.layout.columns is None else list(self.layout.columns),
            "join": self.join,
            "scaled": self.scaled,
        }
        return {**super().get_config(), **own}


def _side_by_side(books: Floats, indices: NDArray[np.int32], dimension: int) -> Floats:
    return books[indices].reshape(len(indices), -1)[:, :dimension]


def _one_upon_another(books: Floats, indices: NDArray[np.int32], dimension: int) -> Floats:
    made = books[indices[:, 0]]
    for code in range(1, indices.shape[1]):
        made = made + books[indices[:, code]]
    return made


def _side_by_side_in_graph(books: Any, indices: Any, dimension: int) -> Any:
    found = tf.gather(books, indices)
    width = indices.shape[-1] * books.shape[-1]
    made = tf.reshape(found, [*(-1 if size is None else size for size in indices.shape[:-1]), width])
    return made if width == dimension else made[..., :dimension]


def _one_upon_another_in_graph(books: Any, indices: Any, dimension: int) -> Any:
    # One addition after the other: how a sum over an axis is ordered is up to the machine.
    first, *others = (tf.gather(books, code) for code in tf.unstack(indices, axis=-1))
    for other in others:
        first = first + other
    return first


Join = Callable[[Any, Any, int], Any]
JOINS: Mapping[str, Join] = {"concatenated": _side_by_side, "added": _one_upon_another}
GRAPH_JOINS: Mapping[str, Join] = {"concatenated": _side_by_side_in_graph, "added": _one_upon_another_in_graph}


def _shapes(num_rows: int, layout: Layout, *, scaled: bool) -> dict[str, tuple[tuple[int, ...], str]]:
    shapes = {
        "codes": ((num_rows, layout.codes + scaled), "uint8"),
        "codebooks": ((layout.num_centroids, layout.width), "float32"),
        "starts": (layout.by_column.shape, "int32"),
    }
    levels: tuple[tuple[int, ...], str] = ((num_levels(num_rows),), "float32")
    return {**shapes, "levels": levels} if scaled else shapes


def _directions(rows: Floats, weights: Weights) -> tuple[Floats, Weights]:
    """Rows of length one, and what an error in one weighs."""
    squares = np.square(rows).sum(axis=1, dtype=np.float64)
    lengths = np.sqrt(np.where(squares, squares, 1)).astype(np.float32)
    return rows / lengths[:, None], weights * squares


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
