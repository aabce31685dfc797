"""Few directions that many ids share, and a length for each id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tfshop._console import progress
from tfshop._keras import keras, tf
from tfshop.errors import PlanError
from tfshop.tables.array_tuning import TunedFactors, middles
from tfshop.tables.codec import ALONE, CHUNK, Codec, CodedTable, Counts, Fields, chunks, error_weights, require_table
from tfshop.tables.float_table import Float32
from tfshop.tables.lookup import TableLookup
from tfshop.tables.nested import NestedLookup, coded_through, inner_table, nested_layer, require_codec
from tfshop.tables.tuning import TunedTable

SWEEPS = 15
SAMPLE = 65_536  # rows that directions are found on
LEVELS = 256  # of factors, in one byte
MOST = 256  # buckets that one byte tells apart
HALF = LEVELS // 2


@dataclass(frozen=True)
class MemCom:
    r"""A shared row times a factor of the id's own: :math:`w_i \approx f_i\,S_{b(i)}`, in two bytes a row.

    Which ids share a row is found by clustering the directions of trained rows instead of hashing ids, and costs one
    byte; the factor, of either sign, is the other one.

    Args:
        buckets: Shared rows, 2 to 256.
        codec: Of the shared rows.

    Raises:
        PlanError: For buckets out of range.

    Example:
        >>> MemCom(64).num_bytes(100_000, 16)
        205120

    References:
        Pansare et al., Learning Compressed Embeddings for On-Device Inference, 2022.
    """

    name: ClassVar[str] = "MemCom"

    buckets: int = 256
    codec: Codec = field(default_factory=Float32)

    def __post_init__(self) -> None:
        require_codec(self.codec, of=self.name)
        if type(self.buckets) is not int or not 2 <= self.buckets <= MOST:  # noqa: PLR2004
            raise PlanError(f"buckets is {self.buckets!r}. Expected 2 to {MOST}. Fix: MemCom(buckets=256).")

    def num_bytes(self, num_rows: int, dimension: int, fields: Fields = ALONE) -> int:
        """Two a row, four a level of the factors, and the shared rows."""
        shared = min(self.buckets, num_rows)
        return 2 * num_rows + 4 * LEVELS + self.codec.num_bytes(shared, dimension)

    def encode(
        self, rows: NDArray[np.float32], counts: Counts = None, *, seed: int = 0, fields: Fields = ALONE
    ) -> CodedTable:
        """Cluster the directions of rows, then fit their factors."""
        require_table(self, rows, counts)
        weights = error_weights(counts, len(rows))
        directions = _directions(rows, weights, min(self.buckets, len(rows)), np.random.default_rng(seed))
        inner = self.codec.encode(directions, seed=seed)
        shared = inner.decode().astype(np.float64)
        chosen, factors = _nearest(rows, shared)
        levels = _levels(factors)
        codes = np.empty((len(rows), 2), dtype=np.uint8)
        codes[:, 0], codes[:, 1] = chosen, np.searchsorted(middles(levels), factors)
        return coded_through(self, rows, {"shared": inner}, fields, codes=codes, levels=levels)

    def decode(self, coded: CodedTable, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rows by id."""
        record = coded.arrays["codes"][ids]
        shared = inner_table(coded, "shared").rows(record[:, 0].astype(np.int64))
        return np.asarray(shared * coded.arrays["levels"][record[:, 1:]])

    def layer(self, coded: CodedTable, **settings: Any) -> TableLookup:
        """The lookup."""
        return nested_layer(MemComLookup, coded, **settings)


@keras.utils.register_keras_serializable(package="tfshop")
class MemComLookup(NestedLookup):
    """Shared rows and factors, see `NestedLookup`: "shared" inside."""

    @property
    def learns(self) -> bool:
        """Factors do, whatever the shared rows are stored by."""
        return True

    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], str]]:
        """Which row and which factor each id has, the factors, and the arrays of the shared rows."""
        own = {"codes": ((self.num_rows, 2), "uint8"), "levels": ((LEVELS,), "float32")}
        return {**own, **super().arrays()}

    def tuned_parts(self, rows: NDArray[np.float32]) -> Mapping[str, TunedTable | None]:
        """Shared rows, and the factor of each id; which row an id shares stays."""
        arrays, inner = self.stored(), self.part("shared")
        shared, chosen = inner.table(), arrays["codes"][:, 0]
        factors = np.concatenate([_factors(rows[ids], shared[chosen[ids]]) for ids in chunks(self.num_rows)])
        twin = TunedFactors(factors.astype(np.float32), arrays["levels"], arrays["codes"], name="codes")
        return {"shared": inner.tuned(shared), "codes": twin}

    def decoded(self, ids: Any) -> Any:
        """Shared row times factor."""
        record = tf.cast(tf.gather(self._arrays["codes"], ids), tf.int32)
        shared = self.decoder("shared").decoded(record[..., 0])
        if "codes" in self._twins:
            return shared * self._twins["codes"].looked_up(ids)
        return shared * tf.gather(self._arrays["levels"], record[..., 1:])


def _directions(
    rows: NDArray[np.float32], weights: NDArray[np.float64], number: int, random: np.random.Generator
) -> NDArray[np.float32]:
    """Unit vectors (number, dimension) that lines through rows lie next to, rows counting by weight and length."""
    if len(rows) > SAMPLE:
        some = np.sort(random.choice(len(rows), SAMPLE, replace=False))
        rows, weights = rows[some], weights[some]
    own = rows.astype(np.float64)
    mass = weights * np.square(own).sum(axis=1) + 1e-30
    first = random.choice(len(own), number, replace=False, p=mass / mass.sum())
    centers = _unit(own[first], own[first])
    with progress("finding directions", SWEEPS) as advance:
        for _ in range(SWEEPS):
            chosen, factors = _nearest(rows, centers)
            pull = np.zeros_like(centers)
            np.add.at(pull, chosen, own * (weights * factors)[:, None])
            centers = _unit(pull, centers)
            advance()
    return centers.astype(np.float32)


def _unit(vectors: NDArray[np.float64], otherwise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vectors of length one; where there is none, the other one."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(length > 0, vectors / np.where(length > 0, length, 1), otherwise)


def _nearest(rows: NDArray[np.float32], shared: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The shared row whose line each row is nearest to, and the factor that takes it there."""
    square = np.maximum(np.square(shared).sum(axis=1), 1e-30)
    chosen, factors = np.empty(len(rows), dtype=np.int64), np.empty(len(rows))
    for start in range(0, len(rows), CHUNK // 8):
        part = slice(start, start + CHUNK // 8)
        along = rows[part].astype(np.float64) @ shared.T
        best = np.argmax(along**2 / square, axis=1)
        chosen[part], factors[part] = best, along[np.arange(len(best)), best] / square[best]
    return chosen, factors


def _levels(factors: NDArray[np.float64]) -> NDArray[np.float32]:
    """Factors that a byte tells apart: a constant ratio between neighbours on either side of zero."""
    largest = max(float(np.abs(factors).max()), 1e-30)
    smallest = max(largest * 1e-3, float(np.quantile(np.abs(factors), 0.01)))
    sizes = np.geomspace(min(smallest, largest), largest, HALF - 1)
    return np.concatenate([-sizes[::-1], [0, 0], sizes]).astype(np.float32)


def _factors(rows: NDArray[np.float32], shared: NDArray[np.float32]) -> NDArray[np.float64]:
    """What takes each row of `shared` nearest to the one beside it."""
    own = shared.astype(np.float64)
    return np.asarray((rows * own).sum(axis=1) / np.maximum(np.square(own).sum(axis=1), 1e-30))
