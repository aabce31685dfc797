"""Looking up what EMBEDDING_LOOKUP reads, and letting it learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras, tf
from tfshop.numerics.integer_rows import BYTE, IntegerRows, bytes_in_order, packed_in_order
from tfshop.tables.lookup import TableLookup
from tfshop.tables.scales import CHUNK, Grid
from tfshop.tables.tuning import TunedIntegers, TunedTable, straight_through

FLOAT_BITS = 8  # LiteRT takes scales in float32 beside so many bits, and in float16 beside fewer
SMALLEST = 2.0**-100  # a scale below counts as zero: what is multiplied by it stays far from where floats end


@keras.utils.register_keras_serializable(package="tfshop")
class EmbeddingLookup(TableLookup):
    """Whole numbers times the scale of their row, see `TableLookup`.

    Converted, it is a chain of builtin operators that ends in a product; the exporter puts EMBEDDING_LOOKUP there.

    Args:
        num_rows: Rows of the table.
        dimension: Numbers a row.
        bits: Of a number.
        **kwargs: As `TableLookup` takes them.
    """

    def __init__(self, num_rows: int, dimension: int, *, bits: int, **kwargs: Any) -> None:
        super().__init__(num_rows, dimension, **kwargs)
        self.bits = int(bits)

    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], str]]:
        """Codes and scales; float16 as whole numbers, since no operator gathers it."""
        codes = ((self.num_rows, bytes_in_order(self.dimension, self.bits)), "uint8")
        if self.bits < FLOAT_BITS:
            return {"codes": codes, "scales": ((self.num_rows, 1), "int16")}
        scales, zeros = ((self.num_rows, 1), "float32"), ((self.num_rows,), "int64")
        return {"codes": codes, "scales": scales, "zero_points": zeros}

    def integer_rows(self) -> tuple[IntegerRows, ...]:
        """The table."""
        codes, scales = (np.asarray(self._arrays[name].numpy()) for name in ("codes", "scales"))
        return (IntegerRows(self.bits, codes, _as_floats(scales)[:, 0]),)

    def decoded(self, ids: Any) -> Any:
        """Numbers times scales, one row after the other: the operator takes ids of one dimension."""
        flat = tf.reshape(ids, [-1])
        numbers = _unpacked(tf.cast(tf.gather(self._arrays["codes"], flat), tf.float32), self.bits)
        scales = tf.gather(self._arrays["scales"], flat)
        if self.bits < FLOAT_BITS:
            scales = tf.cast(tf.bitcast(scales, tf.float16), tf.float32)
        rows = numbers * scales
        rows = rows if rows.shape[-1] == self.dimension else rows[:, : self.dimension]
        return tf.reshape(rows, _shape_behind(ids, self.dimension))

    def tuned(self, rows: NDArray[np.float32]) -> TunedTable:
        """Rows with scales that learn."""
        steps = _as_floats(self.stored()["scales"]).astype(np.float32)
        return TunedScales(rows, steps, bits=self.bits, name=self.name).masked_as(self.mask_zero)

    def after(self, tuned: TunedTable) -> dict[str, NDArray[Any]]:
        """The rows rounded with the scales that were learned."""
        learned = tuned.frozen()
        return arrays_of(learned["rows"], scales_of(learned["steps"][:, 0], self.bits), self.bits)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "bits": self.bits}


class TunedScales(TunedIntegers):
    """Rows on a grid, each with a learned step of its own; of which only those of the ids asked for are read.

    Args:
        rows: float32 (num_rows, dimension), where training starts.
        steps: float32 (num_rows, 1).
        bits: Of a number.
        **kwargs: As any layer.
    """

    def __init__(self, rows: NDArray[np.float32], steps: NDArray[np.float32], *, bits: int, **kwargs: Any) -> None:
        grid = grid_of(bits)
        super().__init__(rows, steps, which=self._steps, offset=grid.offset, top=2**bits - 1, **kwargs)
        self._halves = bits < FLOAT_BITS

    def steps(self) -> Any:
        """The steps as they are now."""
        return self._start, self.changes

    def frozen(self) -> Mapping[str, NDArray[Any]]:
        """Rows and steps, of which the lookup makes its codes."""
        every = tf.range(len(self._start))
        return {"rows": self.rows.numpy(), "steps": self._steps(self.steps(), every).numpy()}

    def _steps(self, steps: Any, ids: Any) -> Any:
        start, changes = (tf.gather(values, ids) for values in steps)
        exact = start * tf.exp(changes)
        return straight_through(exact, tf.cast(tf.cast(exact, tf.float16), tf.float32)) if self._halves else exact


def grid_of(bits: int) -> Grid:
    """Levels of signed numbers, as many below zero as a byte has."""
    return Grid(bits, float(2 ** (bits - 1)))


def scales_of(steps: NDArray[Any], bits: int) -> NDArray[np.floating[Any]]:
    """Steps (num_rows,) as they are stored beside so many bits."""
    steps = np.where(steps < SMALLEST, 0, steps)
    if bits == FLOAT_BITS:
        return np.asarray(steps, dtype=np.float32)
    return np.asarray(np.minimum(steps, np.finfo(np.float16).max), dtype=np.float16)


def arrays_of(rows: NDArray[np.float32], scales: NDArray[np.floating[Any]], bits: int) -> dict[str, NDArray[Any]]:
    """What a lookup stores: the rows rounded with their scales, float32 or float16 (num_rows,)."""
    grid, codes = grid_of(bits), np.empty((len(rows), bytes_in_order(rows.shape[1], bits)), dtype=np.uint8)
    for start in range(0, len(rows), CHUNK):
        part = slice(start, start + CHUNK)
        levels = grid.codes(rows[part], scales[part, None].astype(np.float32))
        codes[part] = packed_in_order((levels - np.float32(grid.offset)).astype(np.int8), bits)
    if bits < FLOAT_BITS:
        return {"codes": codes, "scales": scales.astype(np.float16).view(np.int16)[:, None]}
    zeros = np.zeros(len(rows), dtype=np.int64)
    return {"codes": codes, "scales": scales.astype(np.float32)[:, None], "zero_points": zeros}


def _as_floats(scales: NDArray[Any]) -> NDArray[np.floating[Any]]:
    return scales.view(np.float16) if scales.dtype == np.int16 else scales


def _unpacked(values: Any, bits: int) -> Any:
    """Bytes (rows, bytes) in float32 as signed numbers, the lowest bits first."""
    held = BYTE
    while held > bits:
        held //= 2
        high = tf.floor(values * (1.0 / 2**held))
        width = 2 * values.shape[-1]
        values = tf.reshape(tf.stack([values - high * float(2**held), high], axis=-1), [-1, width])
    return values - tf.floor(values * (1.0 / 2 ** (bits - 1))) * float(2**bits)


def _shape_behind(ids: Any, dimension: int) -> Any:
    """That of the ids, and the dimension; a constant where no more than one size is unknown."""
    sizes = [-1 if size is None else size for size in ids.shape]
    return [*sizes, dimension] if sizes.count(-1) < 2 else tf.concat([tf.shape(ids), [dimension]], axis=0)  # noqa: PLR2004
