"""The lookup of a table in which rare ids share a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tfshop._keras import keras, tf
from tfshop.tables.nested import NestedLookup, constant_of

BYTE = 256


@keras.utils.register_keras_serializable(package="tfshop")
class RareLookup(NestedLookup):
    """Ids of rare rows become that of the row they share, see `TableLookup`.

    Args:
        num_rows: Rows of the table.
        dimension: Numbers a row.
        kept: "kind" and "config" of the lookup of the rows that stay.
        limits: Id that all above become, one a column of the ids; None where none is rare or a table says so.
        shifts: From there to rows that stay, one a column.
        width: Bytes a row of the table that says where each row is; 0 for none.
        **kwargs: As `TableLookup` takes them.
    """

    def __init__(
        self,
        num_rows: int,
        dimension: int,
        *,
        kept: Mapping[str, Any],
        limits: Sequence[int] | None,
        shifts: Sequence[int],
        width: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_rows, dimension, **kwargs)
        self._kept, self._limits, self._shifts = dict(kept), limits and list(limits), list(shifts)
        self._width = int(width)

    def inner(self) -> Mapping[str, Mapping[str, Any]]:
        """That of the rows that stay."""
        return {"kept": self._kept}

    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], str]]:
        """Those of the rows that stay, and where each row is."""
        own = {"remap": ((self.num_rows, self._width), "uint8")} if self._width else {}
        return {**super().arrays(), **own}

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
        own = {"kept": dict(self._kept), "limits": self._limits, "shifts": self._shifts, "width": self._width}
        return {**super().get_config(), **own}


def _whole(digits: Any) -> Any:
    """Bytes (…, width), the highest first, as numbers."""
    number = digits[..., 0]
    for place in range(1, digits.shape[-1]):
        number = number * BYTE + digits[..., place]
    return number
