"""Looking integer codes up, and letting them learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras, tf
from tfshop.tables.codec import ALONE, Fields, chunks
from tfshop.tables.lookup import GRAPH, RowsOf, TableLookup
from tfshop.tables.packing import NUMPY, pack, packed_width, unpack
from tfshop.tables.scales import Grid, num_levels
from tfshop.tables.tuning import TunedIntegers, TunedTable

Shapes = dict[str, tuple[tuple[int, ...], str]]


@keras.utils.register_keras_serializable(package="tfshop")
class IntegerLookup(TableLookup):
    """Rows of integer codes, see `TableLookup`.

    Args:
        num_rows: Rows of the table.
        dimension: Numbers a row.
        bits: Of a code.
        group_size: Rows that share a step.
        offset: The code that stands for zero.
        starts: First row of each field, where each has a step of its own.
        columns: The field that each column of ids looks up, where each has a step of its own.
        **kwargs: As `TableLookup` takes them.
    """

    def __init__(
        self,
        num_rows: int,
        dimension: int,
        *,
        bits: int,
        group_size: int,
        offset: float,
        starts: Sequence[int] = (),
        columns: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_rows, dimension, **kwargs)
        self.bits, self.group_size, self.offset = int(bits), int(group_size), float(offset)
        self.starts = [int(start) for start in starts]
        self.columns = None if columns is None else [int(field) for field in columns]

    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], str]]:
        """Codes and steps."""
        return shapes_of(self.num_rows, self.dimension, self.bits, self.group_size, len(self.columns or ()))

    @property
    def fields(self) -> Fields:
        """Whose rows are whose, where each field has a step of its own."""
        return ALONE if self.columns is None else Fields(tuple(self.starts), tuple(self.columns))

    def decoder_of_rows(self) -> RowsOf:
        """See `TableLookup`."""
        arrays, width = self.stored(), packed_width(self.dimension, self.bits)
        steps = arrays["levels"] if "levels" in arrays else self.fields.by_field(arrays["scale"])

        def rows(ids: NDArray[np.int64]) -> NDArray[np.float32]:
            whole = unpack(arrays["codes"][ids, :width].astype(np.float32), self.dimension, self.bits, NUMPY)
            return np.asarray((whole - np.float32(self.offset)) * self._steps_of_rows(arrays, steps, ids))

        return rows

    def tuned(self, rows: NDArray[np.float32], unit: float = 1.0) -> TunedTable:
        """Rows on the same grid, with steps that learn; `unit` as `TunedIntegers` takes it."""
        arrays = self.stored()
        steps = arrays["levels"] if "levels" in arrays else self.fields.by_field(arrays["scale"])
        grid = {"offset": self.offset, "top": 2**self.bits - 1, "unit": unit}
        return TunedIntegers(rows, steps, which=self._step_of(arrays), **grid, name=self.name).masked_as(self.mask_zero)

    def _step_of(self, arrays: Mapping[str, NDArray[Any]]) -> Any:
        """What gives the step of ids: one for all, one a column, or one a row by its byte."""
        if "levels" not in arrays:
            columns = self.columns
            return lambda steps, _: steps if columns is None else tf.gather(steps, columns)
        indices = tf.constant(arrays["scales"] if "scales" in arrays else arrays["codes"][:, -1])
        size = self.group_size
        return lambda steps, ids: tf.expand_dims(
            tf.gather(steps, tf.cast(tf.gather(indices, ids // size if size > 1 else ids), tf.int32)), -1
        )

    def after(self, tuned: TunedTable) -> dict[str, NDArray[Any]]:
        """The rows rounded with the steps that were learned."""
        learned = tuned.frozen()
        grid, arrays, steps = Grid(self.bits, self.offset), self.stored(), learned["steps"]
        width = packed_width(self.dimension, self.bits)
        for ids in chunks(self.num_rows):
            codes = grid.codes(learned["rows"][ids], self._steps_of_rows(arrays, steps, ids))
            arrays["codes"][ids, :width] = pack(codes.astype(np.uint8), self.bits)
        return arrays | {"levels" if "levels" in arrays else "scale": self.fields.by_column(steps)}

    def _steps_of_rows(
        self, arrays: Mapping[str, NDArray[Any]], steps: NDArray[np.float32], ids: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        if "scales" in arrays:
            return np.asarray(steps[arrays["scales"][ids // self.group_size]])[:, None]
        if "levels" in arrays:
            return np.asarray(steps[arrays["codes"][ids, -1]])[:, None]
        return steps if self.columns is None else steps[self.fields.of_rows(ids)]

    def decoded(self, ids: Any) -> Any:
        """Unpack, and multiply by the steps."""
        codes, steps = self.codes_and_steps(ids)
        return codes * steps

    def codes_and_steps(self, ids: Any) -> tuple[Any, Any]:
        """Codes around zero (…, dimension), and what they are multiplied by."""
        record = tf.gather(self._arrays["codes"], ids)
        if "scale" in self._arrays:
            steps = self._arrays["scale"]
        elif "scales" in self._arrays:
            indices = tf.gather(self._arrays["scales"], ids // self.group_size)
            steps = tf.gather(self._arrays["levels"], tf.cast(tf.expand_dims(indices, -1), tf.int32))
        else:
            record, indices = tf.split(record, [packed_width(self.dimension, self.bits), 1], axis=-1)
            steps = tf.gather(self._arrays["levels"], tf.cast(indices, tf.int32))
        codes = unpack(tf.cast(record, tf.float32), self.dimension, self.bits, GRAPH)
        return codes - self.offset, steps

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {
            "bits": self.bits,
            "group_size": self.group_size,
            "offset": self.offset,
            "starts": list(self.starts),
            "columns": self.columns,
        }
        return {**super().get_config(), **own}


def shapes_of(num_rows: int, dimension: int, bits: int, group_size: int, num_columns: int) -> Shapes:
    """What integer codes store: codes, and one step, a byte a group, or a byte at the end of each row."""
    width = packed_width(dimension, bits)
    count = -(-num_rows // group_size)
    if count == 1:
        scale = (num_columns, 1) if num_columns else (1,)
        return {"codes": ((num_rows, width), "uint8"), "scale": (scale, "float32")}
    levels = ((num_levels(count),), "float32")
    if group_size == 1:
        return {"codes": ((num_rows, width + 1), "uint8"), "levels": levels}
    return {"codes": ((num_rows, width), "uint8"), "scales": ((count,), "uint8"), "levels": levels}
