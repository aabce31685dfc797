"""What is learned about columns from the training rows: which ids there are, and how numbers are spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tfshop.errors import SchemaError

_SHOWN = 3


@dataclass(frozen=True, eq=False, repr=False)
class Vocabulary:
    """The ids of one table, most frequent first: `values[i]` has id i + 1, and 0 is unknown or rare.

    Args:
        values: The ids in their text form, without repeats: a sequence of strings or an Arrow array. Held as an Arrow
            array, which takes the bytes of the text and four more, so that ten million ids fit.
        counts: How often each was seen in the training rows, integers.

    Raises:
        SchemaError: Where the lengths differ, or a value is missing.

    Example:
        >>> Vocabulary(["milk", "bread"], [7, 3]).ids(["bread", "caviar", None]).tolist()
        [2, 0, 0]
    """

    values: pa.Array
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        """Bring both into Arrow and numpy, and check them."""
        values = self.values if isinstance(self.values, pa.Array) else pa.array(list(self.values), pa.string())
        counts = np.asarray(self.counts, np.int64)
        if len(values) != len(counts) or values.null_count:
            raise SchemaError(
                f"a vocabulary of {len(values):,} values ({values.null_count:,} missing) has {len(counts):,} counts. "
                "Expected one count a value, and no missing value. Fix: pass both in the same order."
            )
        object.__setattr__(self, "values", values.cast(pa.string()))
        object.__setattr__(self, "counts", counts)

    def __len__(self) -> int:
        """Return the number of known ids, without row 0."""
        return len(self.values)

    @property
    def num_rows(self) -> int:
        """Rows of the table: the known ids and row 0."""
        return len(self.values) + 1

    def ids(self, values: Sequence[str | None] | pa.Array) -> npt.NDArray[np.int32]:
        """Return the id of each value, 0 where it is missing or not known.

        Args:
            values: Text, shape (n,).

        Returns:
            int32, shape (n,).
        """
        column = values if isinstance(values, pa.Array) else pa.array(list(values), pa.string())
        positions = pc.index_in(column, value_set=self.values, skip_nulls=True)
        ids: npt.NDArray[np.int32] = pc.fill_null(pc.add(positions, 1), 0).to_numpy(zero_copy_only=False)
        return ids.astype(np.int32, copy=False)

    def __eq__(self, other: object) -> bool:
        """Tell whether the other vocabulary has the same values in the same order, with the same counts."""
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return bool(self.values.equals(other.values)) and np.array_equal(self.counts, other.counts)

    __hash__ = None  # type: ignore[assignment]  # it holds arrays

    def __repr__(self) -> str:
        """Show the size and the most frequent values."""
        first = ", ".join(repr(value) for value in self.values[:_SHOWN].to_pylist())
        return f"Vocabulary({len(self):,} values: {first}{', ...' if len(self) > _SHOWN else ''})"

    def to_dict(self) -> dict[str, Any]:
        """Return values and counts as plain data."""
        return {"values": self.values.to_pylist(), "counts": self.counts.tolist()}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Vocabulary:
        """Return the vocabulary that `to_dict` wrote."""
        return cls(pa.array(content["values"], pa.string()), np.array(content["counts"], np.int64))


@dataclass(frozen=True)
class NumericStatistics:
    """How the transformed values of a numeric column are spread over the training rows.

    For the transform "log1p" these are statistics of sign(x) * log(1 + |x|), otherwise of the raw value.

    Args:
        count: Rows with a value.
        missing: Rows without one.
        mean: Of the rows with a value.
        standard_deviation: Of the rows with a value (over n, not n - 1); 0 for a constant column.
        minimum: The smallest.
        maximum: The largest.
        low: The raw value below which values are clipped; None where they are not. What comes before was measured on
            the clipped values.
        high: The raw value above which they are.
    """

    count: int
    missing: int
    mean: float
    standard_deviation: float
    minimum: float
    maximum: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def measure(cls, raw: npt.NDArray[np.float32], transform: str) -> NumericStatistics:
        """Return the statistics of raw values, shape (n,), NaN where missing; at least one is not."""
        values = raw[~np.isnan(raw)].astype(np.float64)
        if transform == "log1p":
            values = np.sign(values) * np.log1p(np.abs(values))
        return cls(
            count=len(values),
            missing=len(raw) - len(values),
            mean=float(values.mean()),
            standard_deviation=float(values.std()),
            minimum=float(values.min()),
            maximum=float(values.max()),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain data."""
        return asdict(self)
