"""Codebooks in one array: where each stands in it, and the lookup of rows by codes that point into them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras, tf
from tfshop.tables.codebook_tuning import CHOICES, TunedCodebooks
from tfshop.tables.codec import Fields
from tfshop.tables.lookup import RowsOf, TableLookup
from tfshop.tables.scales import num_levels
from tfshop.tables.tuning import TunedTable

Floats = NDArray[np.float32]
Codes = NDArray[np.uint8]


@dataclass(frozen=True)
class Layout:
    """Where the codebooks stand in the one array that holds them all, so that one operator reads them.

    Attributes:
        dimension: Numbers a row.
        codes: Of a row, each with a codebook of its own.
        width: Numbers a centroid.
        sizes: Centroids of a codebook, for each group of rows that has codebooks of its own.
        columns: The group that each column of ids looks up; None for a table of one field.
    """

    dimension: int
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
        return np.asarray((np.cumsum(sizes) - sizes).reshape(-1, self.codes), dtype=np.int32)

    @property
    def by_column(self) -> NDArray[np.int32]:
        """The same for each column of ids, (columns, codes); (codes,) for a table of one field.

        One a column where all columns share codebooks too: the sum with a constant of the codes' own shape is faster.
        """
        return self.starts[0] if self.columns is None else self.starts[list(self.columns)]

    def indices(self, codes: Codes, fields: Fields, ids: NDArray[np.int64]) -> NDArray[np.int32]:
        """Where in the array the codes (len(ids), at least `codes`) of rows point."""
        group = fields.of_rows(ids) if len(self.sizes) > 1 else np.zeros(len(ids), dtype=np.int64)
        return np.asarray(codes[:, : self.codes] + self.starts[group])


@keras.utils.register_keras_serializable(package="tfshop")
class CodebookLookup(TableLookup):
    """Rows of codebooks, see `TableLookup`.

    Args:
        num_rows: Rows of the table.
        dimension: Numbers a row.
        cut: Codes of a row, and numbers a centroid.
        sizes: Centroids of a codebook, for each group of rows that has its own.
        columns: The group of each column of ids, None for a table of one field.
        starts: First row of each field.
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
        starts: tuple[int, ...],
        join: str,
        scaled: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_rows, dimension, **kwargs)
        groups = None if columns is None else tuple(map(int, columns))
        self.layout = Layout(int(dimension), int(cut[0]), int(cut[1]), tuple(map(int, sizes)), groups)
        self.fields = Fields(tuple(map(int, starts)), groups)
        self.join, self.scaled = join, bool(scaled)

    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], str]]:
        """Codes, all codebooks below each other, where each starts, and levels of lengths."""
        return array_shapes(self.num_rows, self.layout, scaled=self.scaled)

    def decoded(self, ids: Any) -> Any:
        """What the codes point at."""
        record = tf.gather(self._arrays["codes"], ids)
        if not self.scaled:
            return self._pointed_at(self._arrays["codebooks"], record)
        record, length = tf.split(record, [self.layout.codes, 1], axis=-1)
        return self._pointed_at(self._arrays["codebooks"], record) * tf.gather(
            self._arrays["levels"], tf.cast(length, tf.int32)
        )

    def decoder_of_rows(self) -> RowsOf:
        """See `TableLookup`; whatever column ids come from."""
        arrays = self.stored()
        return lambda ids: rows_of(arrays, self.layout, self.fields, ids, join=self.join)

    def tuned(self, rows: Floats) -> TunedTable:
        """Centroids learn, and rows choose theirs anew now and then."""
        arrays = self.stored()
        lengths = arrays["levels"][arrays["codes"][:, -1]][:, None] if self.scaled else None
        return TunedCodebooks(
            rows,
            arrays["codebooks"],
            arrays["codes"][:, : self.layout.codes],
            pointed_at=self._pointed_at,
            chosen=self._chosen,
            lengths=lengths,
            name=self.name,
        ).masked_as(self.mask_zero)

    def after(self, tuned: TunedTable) -> dict[str, NDArray[Any]]:
        """The centroids that were learned, and the codes that rows have with them."""
        arrays, learned = self.stored(), tuned.frozen()
        arrays["codes"][:, : self.layout.codes] = learned["codes"]
        return arrays | {"codebooks": learned["codebooks"]}

    def _chosen(self, rows: Floats, codebooks: Floats) -> Codes:
        """Codes of all rows, each group with its own codebooks."""
        made = np.empty((self.num_rows, self.layout.codes), dtype=np.uint8)
        parts = self.fields.slices(self.num_rows) if len(self.layout.sizes) > 1 else [slice(0, self.num_rows)]
        for part, size, first in zip(parts, self.layout.sizes, self.layout.starts[:, 0], strict=True):
            own = codebooks[first : first + self.layout.codes * size]
            made[part] = CHOICES[self.join](rows[part], own.reshape(self.layout.codes, size, self.layout.width))
        return made

    def _pointed_at(self, codebooks: Any, codes: Any) -> Any:
        indices = tf.cast(codes, tf.int32) + self._arrays["starts"]
        made = GRAPH_JOINS[self.join](codebooks, indices)
        return made if made.shape[-1] == self.dimension else made[..., : self.dimension]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {
            "cut": [self.layout.codes, self.layout.width],
            "sizes": list(self.layout.sizes),
            "columns": None if self.layout.columns is None else list(self.layout.columns),
            "starts": list(self.fields.starts),
            "join": self.join,
            "scaled": self.scaled,
        }
        return {**super().get_config(), **own}


def _side_by_side(books: Floats, indices: NDArray[np.int32]) -> Floats:
    return books[indices].reshape(len(indices), -1)


def _one_upon_another(books: Floats, indices: NDArray[np.int32]) -> Floats:
    made = books[indices[:, 0]]
    for code in range(1, indices.shape[1]):
        made = made + books[indices[:, code]]
    return made


def _side_by_side_in_graph(books: Any, indices: Any) -> Any:
    found = tf.gather(books, indices)
    *leading, codes = indices.shape
    width = codes * books.shape[-1]
    if leading.count(None) > 1:
        return tf.reshape(found, tf.concat([tf.shape(indices)[:-1], [width]], axis=0))
    return tf.reshape(found, [*(-1 if size is None else size for size in leading), width])


def _one_upon_another_in_graph(books: Any, indices: Any) -> Any:
    # One addition after the other: how a sum over an axis is ordered is up to the machine.
    first, *others = (tf.gather(books, code) for code in tf.unstack(indices, axis=-1))
    for other in others:
        first = first + other
    return first


Join = Callable[[Any, Any], Any]  # codebooks and indices of their rows (…, codes)
JOINS: Mapping[str, Join] = {"concatenated": _side_by_side, "added": _one_upon_another}
GRAPH_JOINS: Mapping[str, Join] = {"concatenated": _side_by_side_in_graph, "added": _one_upon_another_in_graph}


def rows_of(
    arrays: Mapping[str, NDArray[Any]], layout: Layout, fields: Fields, ids: NDArray[np.int64], *, join: str
) -> Floats:
    """Rows (len(ids), dimension) in numpy."""
    codes = arrays["codes"][ids]
    made = JOINS[join](arrays["codebooks"], layout.indices(codes, fields, ids))[:, : layout.dimension]
    return np.asarray(made * arrays["levels"][codes[:, -1]][:, None] if "levels" in arrays else made)


def array_shapes(num_rows: int, layout: Layout, *, scaled: bool) -> dict[str, tuple[tuple[int, ...], str]]:
    """Name to shape and dtype of what is stored."""
    shapes = {
        "codes": ((num_rows, layout.codes + scaled), "uint8"),
        "codebooks": ((layout.num_centroids, layout.width), "float32"),
        "starts": (layout.by_column.shape, "int32"),
    }
    levels: tuple[tuple[int, ...], str] = ((num_levels(num_rows),), "float32")
    return {**shapes, "levels": levels} if scaled else shapes
