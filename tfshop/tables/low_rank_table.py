"""Rows of fewer numbers than the dimension, and one projection that makes the others of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras, tf
from tfshop.errors import PlanError
from tfshop.tables.codec import ALONE, CHUNK, CodedTable, Counts, Fields, require_table, row_weights
from tfshop.tables.integer_lookup import IntegerLookup
from tfshop.tables.integer_table import Int8, IntegerCodec
from tfshop.tables.lookup import TableLookup
from tfshop.tables.nested import NestedLookup, fields_config, inner_table, joined_arrays, lookup_config, told_apart

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
        weights = row_weights(None if counts is None else counts + 1.0, len(rows))
        projection = self._projection(_moment(rows, weights))
        shorter = _shortened(rows, projection)
        inner = self.codec.encode(shorter, counts, seed=seed, fields=fields)
        arrays = {**joined_arrays({"rows": inner}), "projection": projection.T.astype(np.float32)}
        return CodedTable.of(self, rows, arrays, {"inner": told_apart({"rows": inner})}, fields)

    def _projection(self, moment: NDArray[np.float64]) -> NDArray[np.float64]:
        """Whole numbers (rank, dimension) along the first eigenvectors."""
        rank = min(self.rank, len(moment))
        vectors = np.linalg.eigh(moment)[1][:, ::-1][:, :rank].T
        largest = min(2**MOST_BITS, 2 ** (EXACT_BITS - self.codec.bits) // rank)
        return np.asarray(np.rint(vectors / np.abs(vectors).max() * largest))

    def decode(self, coded: CodedTable, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rows by id."""
        codes, steps = self.codec.codes_and_steps(inner_table(coded, "rows"), ids)
        return np.asarray((codes @ coded.arrays["projection"].T) * steps, dtype=np.float32)

    def layer(self, coded: CodedTable, **settings: Any) -> TableLookup:
        """The lookup."""
        rows = lookup_config(inner_table(coded, "rows"))
        return LowRankLookup(
            coded.num_rows, coded.dimension, rows=rows, fields=fields_config(coded.fields), **settings
        ).filled(coded.arrays)


@keras.utils.register_keras_serializable(package="tfshop")
class LowRankLookup(NestedLookup):
    """Short rows of integer codes and a projection, see `TableLookup`.

    Args:
        num_rows: Rows of the table.
        dimension: Numbers a row after the projection.
        rows: "kind" and "config" of the lookup of the short rows.
        **kwargs: As `TableLookup` takes them.
    """

    def __init__(self, num_rows: int, dimension: int, *, rows: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(num_rows, dimension, **kwargs)
        self._rows = dict(rows)

    def inner(self) -> Mapping[str, Mapping[str, Any]]:
        """That of the short rows."""
        return {"rows": self._rows}

    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], str]]:
        """Those of the short rows, and the projection as a Dense layer of a file has it."""
        rank = int(self._rows["config"]["dimension"])
        return {**super().arrays(), "projection": ((self.dimension, rank), "float32")}

    def decoded(self, ids: Any) -> Any:
        """Project whole numbers, then multiply by the step."""
        decoder = self.decoder("rows")
        assert isinstance(decoder, IntegerLookup)  # noqa: S101
        codes, steps = decoder.codes_and_steps(ids)
        flat = tf.reshape(codes, [-1, codes.shape[-1]])
        projected = tf.matmul(flat, self._arrays["projection"], transpose_b=True)
        shape = tf.concat([tf.shape(ids), [self.dimension]], axis=0) if None in ids.shape[1:] else None
        return tf.reshape(projected, [-1, *ids.shape[1:], self.dimension] if shape is None else shape) * steps

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "rows": dict(self._rows)}


def _moment(rows: NDArray[np.float32], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted second moments, (dimension, dimension)."""
    total = np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK].astype(np.float64)
        total += (part * weights[start : start + CHUNK, None]).T @ part
    return total


def _shortened(rows: NDArray[np.float32], projection: NDArray[np.float64]) -> NDArray[np.float32]:
    """The numbers whose projection comes nearest to each row."""
    inverse = np.linalg.pinv(projection)
    made = np.empty((len(rows), len(projection)), dtype=np.float32)
    for start in range(0, len(rows), CHUNK):
        made[start : start + CHUNK] = rows[start : start + CHUNK] @ inverse
    return made
