"""The lookup of a table in which rare ids share a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras, tf
from tfshop.tables.codec import Fields
from tfshop.tables.nested import NestedLookup, constant_of
from tfshop.tables.tuning import TunedTable

BYTE = 256


@keras.utils.register_keras_serializable(package="tfshop")
class RareLookup(NestedLookup):
    """Ids of rare rows become that of the row they share, see `NestedLookup`: "kept" inside.

    Args:
        num_rows: Rows of the table.
        dimension: Numbers a row.
        limits: Id that all above become, one a column of the ids; None where none is rare or a table says so.
        shifts: From there to rows that stay, one a column.
        width: Bytes a row of the table that says where each row is; 0 for none.
        **kwargs: As `NestedLookup` takes them.
    """

    def __init__(
        self,
        num_rows: int,
        dimension: int,
        *,
        limits: Sequence[int] | None,
        shifts: Sequence[int],
        width: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_rows, dimension, **kwargs)
        self._limits, self._shifts, self._width = limits and list(limits), list(shifts), int(width)

    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], str]]:
        """Those of the rows that stay, and where each row is."""
        own = {"remap": ((self.num_rows, self._width), "uint8")} if self._width else {}
        return {**super().arrays(), **own}

    def tuned_parts(self, rows: NDArray[np.float32]) -> Mapping[str, TunedTable | None]:
        """Rows that stay; for those that share one what is stored, which is their mean by counts."""
        fields, inner = self.fields, self.part("kept")
        ids = np.arange(self.num_rows)
        if self._width:
            digits = self.stored()["remap"].astype(np.int64)
            ids = digits @ BYTE ** np.arange(self._width)[::-1]
        field = fields.of_rows(np.arange(self.num_rows))
        if self._limits is not None and not self._width:
            ids = np.minimum(ids, _a_field(self._limits, fields)[field])
        ids = ids + _a_field(self._shifts, fields)[field]
        starts = np.empty((inner.num_rows, self.dimension), dtype=np.float32)
        starts[ids] = rows
        shared = np.flatnonzero(np.bincount(ids) > 1)
        starts[shared] = inner.rows(shared)
        return {"kept": inner.tuned(starts)}

    def decoded(self, ids: Any) -> Any:
        """Fold, then look up."""
        if self._width:
            ids = _whole(tf.cast(tf.gather(self._arrays["remap"], ids), ids.dtype))
        elif self._limits is not None:
            ids = tf.minimum(ids, constant_of(self._limits, ids))
        if any(self._shifts):
            ids = ids + constant_of(self._shifts, ids)
        return self.decoder("kept").decoded(ids)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"limits": self._limits, "shifts": self._shifts, "width": self._width}
        return {**super().get_config(), **own}


def _a_field(values: Sequence[int], fields: Fields) -> NDArray[np.int64]:
    """What is given once a column, or once for all, by field."""
    given = np.asarray(values, dtype=np.int64)
    if len(given) == 1:
        return np.repeat(given, len(fields.starts))
    return np.asarray(fields.by_field(given))


def _whole(digits: Any) -> Any:
    """Bytes (…, width), the highest first, as numbers."""
    number = digits[..., 0]
    for place in range(1, digits.shape[-1]):
        number = number * BYTE + digits[..., place]
    return number
