"""Rows as sums of a few rows that many ids share, fitted to a trained table."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tfshop._console import progress
from tfshop._keras import keras, tf
from tfshop.errors import PlanError
from tfshop.tables.array_tuning import TunedArray
from tfshop.tables.codec import ALONE, Codec, CodedTable, Counts, Fields, error_weights, require_table, row_counts_of
from tfshop.tables.float_table import Float32
from tfshop.tables.id_places import EXACT, FACTORS, most_rows, places_of, taken_apart
from tfshop.tables.lookup import TableLookup
from tfshop.tables.nested import NestedLookup, coded_through, inner_table, nested_layer, require_codec, resolved
from tfshop.tables.tuning import TunedTable

SWEEPS = 12
FEWEST_BUCKETS, MOST_BUCKETS = 2**4, 2**22
MOST_IN_FLOATS = EXACT  # rows of a table whose ids are taken apart in float arithmetic


class SharedRowsCodec:
    """Rows as the mean of their feature and a few shared rows, which ids find by arithmetic: no byte a row is stored.

    What is shared is fitted to the trained rows by least squares, rows counting by how often they were seen. Many ids
    share a row, so this is for rare ones, as the last codec of `Grouped`. Ids are taken apart in float arithmetic by
    powers of two, which rounds nothing; in tables of more than 2**24 rows by a division of whole numbers first.

    A shared row is seen as often as all its ids together. Where the codec inside goes by that, `num_bytes` takes all
    shared rows as seen alike, and `resolved` gives the codec whose `num_bytes` is that of the file.

    Attributes:
        buckets: Shared rows of each of the tables that are summed; a power of two.
        codec: Of the shared rows.

    Raises:
        PlanError: For a number out of range; in `num_bytes`, `resolved` and `encode` for so many rows that float32 does
            not tell quotients apart, which are at least 53 million.
    """

    name: ClassVar[str]

    buckets: int
    codec: Codec

    def __post_init__(self) -> None:
        require_codec(self.codec, of=self.name)
        whole = type(self.buckets) is int and FEWEST_BUCKETS <= self.buckets <= MOST_BUCKETS
        if not whole or self.buckets & (self.buckets - 1):
            raise PlanError(
                f"buckets is {self.buckets!r}. Expected a power of two from {FEWEST_BUCKETS} to {MOST_BUCKETS:,}. Fix: "
                f"{self.name}(buckets=1024)."
            )

    @abstractmethod
    def factors(self) -> tuple[int | None, ...]:
        """One a table: what the quotient counts in the index; None for the quotient itself."""

    def num_shared(self, num_rows: int) -> int:
        """Rows of all tables that are summed."""
        self._require_places(num_rows)
        sizes = [-(-num_rows // self.buckets) if factor is None else self.buckets for factor in self.factors()]
        return sum(sizes)

    def resolved(self, num_rows: int, dimension: int, counts: Counts = None, fields: Fields = ALONE) -> SharedRowsCodec:
        """The same with what the codec inside makes of the counts of shared rows written out."""
        seen = self._seen(num_rows, counts) if hasattr(self.codec, "resolved") else None
        own: Any = self
        made: SharedRowsCodec = replace(own, codec=resolved(self.codec, self.num_shared(num_rows), dimension, seen))
        return made

    def num_bytes(self, num_rows: int, dimension: int, fields: Fields = ALONE) -> int:
        """Those of the shared rows, and a mean a column of the ids."""
        means = 4 * dimension * len(fields.columns or (0,))
        return self.codec.num_bytes(self.num_shared(num_rows), dimension) + means

    def encode(
        self, rows: NDArray[np.float32], counts: Counts = None, *, seed: int = 0, fields: Fields = ALONE
    ) -> CodedTable:
        """Take the mean of each feature off, then fit one table after the other to what is left."""
        require_table(self, rows, counts)
        num_shared = self.num_shared(len(rows))
        weights = error_weights(counts, len(rows))
        means = np.stack([np.average(rows[part], axis=0, weights=weights[part]) for part in fields.slices(len(rows))])
        means = means.astype(np.float32)
        left = rows - means[fields.of_rows(np.arange(len(rows)))]
        places = self._places(np.arange(len(rows)))
        shared = _fitted(left, weights, places, num_shared)
        made = self.resolved(len(rows), rows.shape[1], counts, fields)
        inner = made.codec.encode(shared, self._seen(len(rows), counts), seed=seed)
        return coded_through(made, rows, {"shared": inner}, fields, means=fields.by_column(means))

    def decode(self, coded: CodedTable, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rows by id."""
        total = coded.fields.by_field(coded.arrays["means"])[coded.fields.of_rows(ids)]
        inner = inner_table(coded, "shared")
        for places in self._places(ids):
            total = total + inner.rows(places)
        return np.asarray(total)

    def layer(self, coded: CodedTable, **settings: Any) -> TableLookup:
        """The lookup."""
        own = {"buckets": self.buckets, "factors": self.factors(), "num_columns": len(coded.arrays["means"])}
        return nested_layer(SharedRowsLookup, coded, **own, **settings)

    def _seen(self, num_rows: int, counts: Counts) -> Counts:
        """How often each shared row is: as often as all ids together that read it."""
        known = row_counts_of(counts)
        if known is None:
            return None
        places, number = self._places(np.arange(num_rows)), self.num_shared(num_rows)
        return known.both(lambda values: np.asarray(sum(np.bincount(own, values, number) for own in places)))

    def _places(self, ids: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        quotients, remainders = (part.astype(np.float32) for part in np.divmod(ids, self.buckets))
        found = places_of(quotients, remainders, self.buckets, self.factors(), np.floor)
        return [place.astype(np.int64) + number * self.buckets for number, place in enumerate(found)]

    def _require_places(self, num_rows: int) -> None:
        most = most_rows(self.buckets, self.factors())
        if num_rows > most:
            sizes = (2**power for power in range(FEWEST_BUCKETS.bit_length() - 1, MOST_BUCKETS.bit_length()))
            enough = next((size for size in sizes if most_rows(size, self.factors()) >= num_rows), MOST_BUCKETS)
            raise PlanError(
                f"{self.name} with {self.buckets:,} buckets was given {num_rows:,} rows. Expected at most {most:,}, "
                f"whose places float32 tells apart. Fix: {self.name}(buckets={enough})."
            )


@dataclass(frozen=True)
class Hashed(SharedRowsCodec):
    """Sums of rows that ids find by several hashes, see `SharedRowsCodec`.

    With two hashes or more, ids collide in all of them only where as many rows as `buckets` squared lie between them.

    Args:
        buckets: Shared rows a hash, a power of two.
        hashes: How many rows are summed, 1 to 4.
        codec: Of the shared rows.

    Example:
        >>> Hashed(256, 2).num_bytes(100_000, 16)
        32832

    References:
        Tito Svenstrup et al., Hash Embeddings for Efficient Word Representations, 2017.
    """

    name: ClassVar[str] = "Hashed"

    buckets: int = 1024
    hashes: int = 2
    codec: Codec = field(default_factory=Float32)

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.hashes) is not int or not 1 <= self.hashes <= len(FACTORS):
            raise PlanError(f"hashes is {self.hashes!r}. Expected 1 to {len(FACTORS)}. Fix: Hashed(hashes=2).")

    def factors(self) -> tuple[int | None, ...]:
        """Remainder, then remainder and an odd number of quotients."""
        return FACTORS[: self.hashes]


@dataclass(frozen=True)
class QuotientRemainder(SharedRowsCodec):
    """The row of an id's remainder plus that of its quotient, which no other id has both of; see `SharedRowsCodec`.

    Args:
        buckets: By which ids are divided, a power of two.
        codec: Of the shared rows.

    Example:
        >>> QuotientRemainder(256).num_bytes(100_000, 16)
        41472

    References:
        Shi et al., Compositional Embeddings Using Complementary Partitions, 2020.
    """

    name: ClassVar[str] = "QuotientRemainder"

    buckets: int = 1024
    codec: Codec = field(default_factory=Float32)

    def factors(self) -> tuple[int | None, ...]:
        """Remainder and quotient."""
        return (0, None)


@keras.utils.register_keras_serializable(package="tfshop")
class SharedRowsLookup(NestedLookup):
    """Sums of shared rows, see `NestedLookup`: "shared" inside.

    Args:
        num_rows: Rows of the table.
        dimension: Numbers a row.
        buckets: By which ids are divided.
        factors: As `places_of` takes them.
        num_columns: Columns of ids with a mean each; 1 where one mean serves all.
        **kwargs: As `NestedLookup` takes them.
    """

    def __init__(
        self,
        num_rows: int,
        dimension: int,
        *,
        buckets: int,
        factors: Sequence[int | None],
        num_columns: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_rows, dimension, **kwargs)
        self._buckets, self._factors, self._num_columns = int(buckets), list(factors), int(num_columns)

    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], str]]:
        """Those of the shared rows, and the means."""
        return {**super().arrays(), "means": ((self._num_columns, self.dimension), "float32")}

    @property
    def learns(self) -> bool:
        """Means do, whatever the shared rows are stored by."""
        return True

    def tuned_parts(self, rows: NDArray[np.float32]) -> Mapping[str, TunedTable | None]:
        """Shared rows from where they are, which is nearest to all rows together; and the mean of each field."""
        inner, fields = self.part("shared"), self.fields
        means = fields.by_field(self.stored()["means"])

        def stored(values: Any) -> Any:
            return tf.identity(values) if fields.columns is None else tf.gather(values, fields.columns)

        return {"shared": inner.tuned(inner.table()), "means": TunedArray(means, stored, name="means")}

    def decoded(self, ids: Any) -> Any:
        """One lookup a table."""
        decoder = self.decoder("shared")
        total = self.own("means")
        quotients, remainders = self._quotients_and_remainders(ids)
        for number, place in enumerate(places_of(quotients, remainders, self._buckets, self._factors, tf.floor)):
            total = total + decoder.decoded(tf.cast(place + float(number * self._buckets), tf.int32))
        return total

    def _quotients_and_remainders(self, ids: Any) -> tuple[Any, Any]:
        """Both in float32, in which larger ids are not exact."""
        if self.num_rows <= MOST_IN_FLOATS:
            return taken_apart(tf.cast(ids, tf.float32), self._buckets, tf.floor)
        quotients = ids // self._buckets
        return tf.cast(quotients, tf.float32), tf.cast(ids - quotients * self._buckets, tf.float32)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"buckets": self._buckets, "factors": list(self._factors), "num_columns": self._num_columns}
        return {**super().get_config(), **own}


def _fitted(
    rows: NDArray[np.float32], weights: NDArray[np.float64], places: Sequence[NDArray[np.int64]], num_shared: int
) -> NDArray[np.float32]:
    """Shared rows of least squared error: each is the weighted mean of what the others leave, some times over."""
    shared = np.zeros((num_shared, rows.shape[1]), dtype=np.float32)
    seen = [np.maximum(np.bincount(own, weights, minlength=num_shared), 1e-12) for own in places]
    left = rows.copy()
    with progress("fitting shared rows", SWEEPS) as advance:
        for _ in range(SWEEPS if len(places) > 1 else 1):
            for own, total in zip(places, seen, strict=True):
                for column in range(rows.shape[1]):
                    change = np.bincount(own, weights * left[:, column], minlength=num_shared) / total
                    shared[:, column] += change.astype(np.float32)
                    left[:, column] -= change.astype(np.float32)[own]
            advance()
    return shared
