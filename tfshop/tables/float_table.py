"""Tables of floats: as they are, and in half the bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras, tf
from tfshop.errors import PlanError
from tfshop.tables.codec import ALONE, CodedTable, Counts, Fields, require_table
from tfshop.tables.lookup import TableLookup
from tfshop.tables.tuning import TunedFloats, TunedTable

HALF_BYTES = 256  # what a byte can say
FLOAT16_MAX = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Float32:
    """The table as it was trained, protected from the converter.

    Example:
        >>> Float32().num_bytes(100, 16)
        6400
    """

    name: ClassVar[str] = "Float32"

    def encode(
        self, rows: NDArray[np.float32], counts: Counts = None, *, seed: int = 0, fields: Fields = ALONE
    ) -> CodedTable:
        """The rows themselves."""
        require_table(self, rows, counts)
        return CodedTable.of(self, rows, {"table": np.ascontiguousarray(rows, dtype=np.float32)}, fields=fields)

    def num_bytes(self, num_rows: int, dimension: int, fields: Fields = ALONE) -> int:
        """Four a number."""
        return 4 * num_rows * dimension

    def decode(self, coded: CodedTable, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rows by id."""
        return np.asarray(coded.arrays["table"][ids])

    def layer(self, coded: CodedTable, **settings: Any) -> TableLookup:
        """The lookup."""
        return FloatLookup(coded.num_rows, coded.dimension, **settings).filled(coded.arrays)


@dataclass(frozen=True)
class Float16:
    """Half precision: 11 significant bits a number.

    No builtin operator gathers float16. A number is stored as its two bytes instead: the high one picks where it
    starts and how far its steps reach, the low one counts steps, which gives every float16 exactly.

    Example:
        >>> Float16().num_bytes(100, 16)
        5248
    """

    name: ClassVar[str] = "Float16"
    learns: ClassVar[bool] = False

    def encode(
        self, rows: NDArray[np.float32], counts: Counts = None, *, seed: int = 0, fields: Fields = ALONE
    ) -> CodedTable:
        """The rows in float16.

        Raises:
            PlanError: For numbers beyond float16.
        """
        require_table(self, rows, counts)
        if np.abs(rows).max() > FLOAT16_MAX:
            raise PlanError(
                f"Float16 was given a table with numbers up to {np.abs(rows).max():.3g}. Expected at most "
                f"{FLOAT16_MAX:,.0f}. Fix: Float32() or Int8() for this table."
            )
        numbers = rows.astype(np.float16).view(np.uint16)
        codes = np.concatenate([numbers >> 8, numbers & 255], axis=1).astype(np.uint8)
        return CodedTable.of(self, rows, {"codes": codes, "levels": _starts_and_steps()}, fields=fields)

    def num_bytes(self, num_rows: int, dimension: int, fields: Fields = ALONE) -> int:
        """Two a number, and what the high bytes mean."""
        return 2 * num_rows * dimension + 8 * HALF_BYTES

    def decode(self, coded: CodedTable, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rows by id."""
        record = coded.arrays["codes"][ids]
        levels = coded.arrays["levels"][record[..., : coded.dimension]]
        return np.asarray(levels[..., 0] + levels[..., 1] * record[..., coded.dimension :].astype(np.float32))

    def layer(self, coded: CodedTable, **settings: Any) -> TableLookup:
        """The lookup."""
        return HalfLookup(coded.num_rows, coded.dimension, **settings).filled(coded.arrays)


@keras.utils.register_keras_serializable(package="tfshop")
class FloatLookup(TableLookup):
    """Rows of float32, see `TableLookup`."""

    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], str]]:
        """The table."""
        return {"table": ((self.num_rows, self.dimension), "float32")}

    def tuned(self, rows: NDArray[np.float32]) -> TunedTable:
        """Rows learn as those of an `Embedding` do."""
        return TunedFloats(rows, name=self.name).masked_as(self.mask_zero)

    def decoded(self, ids: Any) -> Any:
        """Rows as they are."""
        return tf.gather(self._arrays["table"], ids)


@keras.utils.register_keras_serializable(package="tfshop")
class HalfLookup(TableLookup):
    """Rows of float16 as bytes, see `TableLookup`."""

    @property
    def learns(self) -> bool:
        """Bytes of float16 are no codes to choose."""
        return False

    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], str]]:
        """High bytes, then low bytes; start and step of each high byte."""
        codes = ((self.num_rows, 2 * self.dimension), "uint8")
        return {"codes": codes, "levels": ((HALF_BYTES, 2), "float32")}

    def decoded(self, ids: Any) -> Any:
        """Start and steps."""
        record = tf.gather(self._arrays["codes"], ids)
        high, low = tf.split(record, [self.dimension, self.dimension], axis=-1)
        levels = tf.gather(self._arrays["levels"], tf.cast(high, tf.int32))
        return levels[..., 0] + levels[..., 1] * tf.cast(low, tf.float32)


def _starts_and_steps() -> NDArray[np.float32]:
    """For each high byte of a float16: the number whose low byte is 0, and what one more in the low byte adds."""
    high = np.arange(HALF_BYTES, dtype=np.uint16) << 8
    pairs = np.stack([high, high + 1], axis=1).view(np.float16)
    finite = np.where(np.isfinite(pairs), pairs, 0).astype(np.float32)
    return np.stack([finite[:, 0], finite[:, 1] - finite[:, 0]], axis=1)
