"""Rows of fewer numbers than the dimension, and one projection that makes the others of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras, tf
from tfshop.errors import PlanError
from tfshop.tables.array_tuning import TunedArray
from tfshop.tables.codec import ALONE, CHUNK, CodedTable, Counts, Fields, error_weights, require_table, row_weights
from tfshop.tables.integer_table import Int8, IntegerCodec
from tfshop.tables.lookup import TableLookup
from tfshop.tables.nested import NestedLookup, coded_through, inner_table, nested_layer
from tfshop.tables.tuning import TunedTable

EXACT_BITS = 24  # whole numbers below 2**24 are exact in float32
MOST_BITS = 12  # of a number of the projection


@dataclass(frozen=True)
class LowRankTable:
    r"""Rows as `rank` integer codes times a projection: :math:`w \approx s\,(q - o)\,P`.

    The projection holds whole numbers, so small that every sum of products with codes is exact in float32: the order in
    which a library adds does not matter, and the step comes last. In a table of several features they share one
    projection; features named in `EncodeTables({feature: LowRankTable(4)})` with codecs of their own get one each. In
    `Grouped`, rare rows of lower rank make dimensions mixed by frequency.

    Args:
        rank: Numbers stored of a row; at most the dimension is used.
        codec: Of those numbers: `Int8` to `Int2`.

    Raises:
        PlanError: For a rank below 1, or another codec.

    Example:
        >>> LowRankTable(4, Int8("table")).num_bytes(1_000, 16)
        4260

    References:
        Ginart et al., Mixed Dimension Embeddings, 2021.
    """

    name: ClassVar[str] = "LowRankTable"

    rank: int = 4
    codec: IntegerCodec = field(default_factory=Int8)

    def __post_init__(self) -> None:
        if type(self.rank) is not int or self.rank < 1:
            raise PlanError(f"rank is {self.rank!r}. Expected a whole number from 1. Fix: LowRankTable(rank=4).")
        if not isinstance(self.codec, IntegerCodec):
            raise PlanError(
                f"LowRankTable was given {self.codec!r} as a codec. Expected Int8() to Int2(), whose codes are whole "
                "numbers. Fix: LowRankTable(codec=Int8())."
            )

    def num_bytes(self, num_rows: int, dimension: int, fields: Fields = ALONE) -> int:
        """Those of the shorter rows, and four a number of the projection."""
        rank = min(self.rank, dimension)
        return self.codec.num_bytes(num_rows, rank, fields) + 4 * rank * dimension

    def encode(
        self, rows: NDArray[np.float32], counts: Counts = None, *, seed: int = 0, fields: Fields = ALONE
    ) -> CodedTable:
        """Find the directions in which rows differ most, rows weighing as often as they were seen."""
        require_table(self, rows, counts)
        weights = row_weights(error_weights(counts, len(rows)), len(rows))
        projection = self._projection(_moment(rows, weights))
        inner = self.codec.encode(shortened(rows, projection), counts, seed=seed, fields=fields)
        return coded_through(self, rows, {"rows": inner}, fields, projection=projection.T.astype(np.float32))

    def _projection(self, moment: NDArray[np.float64]) -> NDArray[np.float64]:
        """Whole numbers (rank, dimension) along the first eigenvectors."""
        rank = min(self.rank, len(moment))
        vectors = np.linalg.eigh(moment)[1][:, ::-1][:, :rank].T
        return np.asarray(np.rint(vectors / np.abs(vectors).max() * _largest(rank, self.codec.bits)))

    def decode(self, coded: CodedTable, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rows by id."""
        codes, steps = self.codec.codes_and_steps(inner_table(coded, "rows"), ids)
        return np.asarray((codes @ coded.arrays["projection"].T) * steps, dtype=np.float32)

    def layer(self, coded: CodedTable, **settings: Any) -> TableLookup:
        """The lookup."""
        return nested_layer(LowRankLookup, coded, **settings)


@dataclass(frozen=True, eq=False)
class ShortRows:
    """A table whose projection somebody else takes over.

    Attributes:
        lookup: Of the short rows, coded.
        projection: float32 (rank, dimension).
        rows: The short rows before they were coded, float32 (num_rows, rank).
    """

    lookup: TableLookup
    projection: NDArray[np.float32]
    rows: NDArray[np.float32]


@keras.utils.register_keras_serializable(package="tfshop")
class LowRankLookup(NestedLookup):
    """Short rows of integer codes and a projection, see `NestedLookup`: "rows" inside."""

    @property
    def rank(self) -> int:
        """Numbers of a short row."""
        return int(self._inner["rows"]["config"]["dimension"])

    @property
    def unit(self) -> float:
        """About the length of a direction of the projection, a power of two: divided by it, nothing is rounded."""
        return unit_of(self.stored()["projection"])

    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], str]]:
        """Those of the short rows, and the projection as a Dense layer of a file has it."""
        return {**super().arrays(), "projection": ((self.dimension, self.rank), "float32")}

    def tuned_parts(self, rows: NDArray[np.float32]) -> Mapping[str, TunedTable | None]:
        """Short rows on their grids, and a projection that stays one of whole numbers that are exact in float32."""
        projection, unit = self.stored()["projection"], self.unit
        largest = float(_largest(self.rank, int(self._inner["rows"]["config"]["bits"])))

        def stored(values: Any) -> Any:
            return tf.grad_pass_through(tf.round)(tf.clip_by_value(values * unit, -largest, largest))

        return {
            "rows": self.part("rows").tuned(shortened(rows, projection.T.astype(np.float64)), 1 / unit),
            "projection": TunedArray(projection / np.float32(unit), stored, name="projection"),
        }

    def decoded(self, ids: Any) -> Any:
        """Project whole numbers, then multiply by the step."""
        codes, steps = self.decoder("rows").codes_and_steps(ids)
        flat = tf.reshape(codes, [-1, codes.shape[-1]])
        projected = tf.matmul(flat, self.own("projection"), transpose_b=True)
        shape = tf.concat([tf.shape(ids), [self.dimension]], axis=0) if None in ids.shape[1:] else None
        return tf.reshape(projected, [-1, *ids.shape[1:], self.dimension] if shape is None else shape) * steps

    def taken_apart(self, rows: NDArray[np.float32]) -> ShortRows:
        """Short rows and projection, `rows` (num_rows, dimension) being those before they were coded.

        Steps take over the length of the projection's directions, which is a power of two, so that both are of a size
        that learns well and codes mean what they meant.
        """
        unit, projection, inner = np.float32(self.unit), self.stored()["projection"].T, self.part("rows")
        arrays = {key: a * unit if a.dtype == np.float32 else a for key, a in inner.stored().items()}
        own = {"name": self.name, "mask_zero": self.mask_zero, "trainable": self.trainable}
        config = {**inner.get_config(), **own}
        lookup = type(inner).from_config(config).filled(arrays)
        return ShortRows(lookup, projection / unit, shortened(rows, projection.astype(np.float64)) * unit)


def _moment(rows: NDArray[np.float32], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted second moments, (dimension, dimension)."""
    total = np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK].astype(np.float64)
        total += (part * weights[start : start + CHUNK, None]).T @ part
    return total


def shortened(rows: NDArray[np.float32], projection: NDArray[np.float64]) -> NDArray[np.float32]:
    """The numbers whose projection comes nearest to each row."""
    inverse = np.linalg.pinv(projection)
    made = np.empty((len(rows), len(projection)), dtype=np.float32)
    for start in range(0, len(rows), CHUNK):
        made[start : start + CHUNK] = rows[start : start + CHUNK] @ inverse
    return made


def unit_of(projection: NDArray[np.float32]) -> float:
    """About the length of a direction of a projection (dimension, rank), a power of two."""
    lengths = np.sqrt(np.square(projection.astype(np.float64)).sum(axis=0))
    return float(2.0 ** np.rint(np.log2(lengths.mean())))


def _largest(rank: int, bits: int) -> int:
    """Of the numbers of a projection, so that its products with codes add up exactly in float32."""
    return min(1 << MOST_BITS, (1 << EXACT_BITS - bits) // rank)
