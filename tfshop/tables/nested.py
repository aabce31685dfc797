"""Codecs within codecs: tables that are stored as several others, and lookups that decode through others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras, tf
from tfshop.errors import PlanError
from tfshop.numerics.integer_rows import IntegerRows
from tfshop.tables.codec import ALONE, Codec, CodedTable, Counts, Fields
from tfshop.tables.lookup import RowsOf, TableLookup
from tfshop.tables.tuning import TunedFixed, TunedNested, TunedTable

A_RUN = 4096  # ids looked up at a time, in as many columns as a table has
NOTHING = np.empty(0, dtype=np.uint8)


def require_codec(codec: Any, *, of: str) -> None:
    """Raise `PlanError` for what is no codec inside another one."""
    if not isinstance(codec, Codec) or isinstance(codec, type):
        raise PlanError(f"{of} was given {codec!r} as a codec. Expected one such as Int4(). Fix: {of}(codec=Int4()).")


def resolved(codec: Codec, num_rows: int, dimension: int, counts: Counts = None, fields: Fields = ALONE) -> Codec:
    """A codec with all that it makes of counts written out, so that `num_bytes` is that of this very table.

    Args:
        codec: Any.
        num_rows: Of the table.
        dimension: Numbers a row.
        counts: How often each row was seen; None for all alike.
        fields: Whose rows are whose.

    Returns:
        The codec itself where it does not depend on counts.

    Example:
        >>> from tfshop.tables import Grouped
        >>> resolved(Grouped(), 4, 16, np.array([90.0, 6.0, 3.0, 1.0])).split
        ((1,), (2,))
    """
    made = getattr(codec, "resolved", None)
    return made(num_rows, dimension, counts, fields) if made else codec


def coded_through(
    codec: Codec,
    rows: NDArray[np.float32],
    inner: Mapping[str, CodedTable],
    fields: Fields,
    **own: NDArray[Any],
) -> CodedTable:
    """What a codec made of `rows` by way of other tables.

    Args:
        codec: The outer one.
        rows: float32 (num_rows, dimension).
        inner: Tables inside, by their keys; their arrays go behind the key.
        fields: Whose rows are whose.
        **own: Arrays beside those.
    """
    arrays = {f"{key}_{name}": array for key, table in inner.items() for name, array in table.arrays.items()}
    bare = {key: replace(table, arrays=dict.fromkeys(table.arrays, NOTHING)) for key, table in inner.items()}
    return CodedTable.of(codec, rows, {**arrays, **own}, {"inner": bare}, fields)


def inner_table(coded: CodedTable, key: str) -> CodedTable:
    """One of the tables inside another one, with the arrays that the outer one has now."""
    bare: CodedTable = coded.settings["inner"][key]
    return replace(bare, arrays={name: coded.arrays[f"{key}_{name}"] for name in bare.arrays})


def lookup_config(coded: CodedTable) -> dict[str, Any]:
    """What `NestedLookup` makes a lookup of again: its class and the arguments of it."""
    layer = coded.layer("inner")
    return {"kind": keras.saving.get_registered_name(type(layer)), "config": layer.get_config()}


def nested_layer(kind: Any, coded: CodedTable, **settings: Any) -> TableLookup:
    """The `NestedLookup` of a table that `coded_through` made, with its arrays.

    Args:
        kind: The class.
        coded: The outer table.
        **settings: Of the class, and as `TableLookup` takes them.
    """
    inner = {key: lookup_config(inner_table(coded, key)) for key in coded.settings["inner"]}
    made: TableLookup = kind(
        coded.num_rows, coded.dimension, inner=inner, fields=fields_config(coded.fields), **settings
    )
    return made.filled(coded.arrays)


def fields_config(fields: Fields) -> dict[str, Any]:
    """Whose rows are whose as plain data."""
    columns = None if fields.columns is None else list(fields.columns)
    return {"starts": list(fields.starts), "columns": columns}


class NestedLookup(TableLookup):
    """A lookup that decodes through others, whose arrays are its own; see `TableLookup`.

    Args:
        num_rows: Rows of the table.
        dimension: Numbers a row.
        inner: Key to `lookup_config` of each lookup inside.
        fields: `Fields` as plain data: "starts", and "columns", None for ids of any shape.
        **kwargs: As `TableLookup` takes them.
    """

    def __init__(
        self,
        num_rows: int,
        dimension: int,
        *,
        inner: Mapping[str, Mapping[str, Any]],
        fields: Mapping[str, Any],
        **kwargs: Any,
    ) -> None:
        super().__init__(num_rows, dimension, **kwargs)
        self._inner = {key: dict(part) for key, part in inner.items()}
        self._fields = dict(fields)
        self._twins: Mapping[str, TunedTable] = {}

    @property
    def fields(self) -> Fields:
        """Whose rows are whose."""
        columns = self._fields["columns"]
        return Fields(tuple(self._fields["starts"]), None if columns is None else tuple(columns))

    def table(self) -> NDArray[np.float32]:
        """All rows as they are looked up, (num_rows, dimension)."""
        return super().table() if self.fields.columns is None else self.rows(np.arange(self.num_rows))

    @property
    def learns(self) -> bool:
        """Whether anything of a lookup inside can be trained."""
        return any(self._made(key).learns for key in self._inner)

    def decoder_of_rows(self) -> RowsOf:
        """See `TableLookup`; each id is looked up in a column of its field, and at a time as many as columns are."""
        looked_up, fields = super().decoder_of_rows(), self.fields
        if fields.columns is None:
            return looked_up
        first = fields.by_column(np.asarray(fields.starts))

        def rows(ids: NDArray[np.int64]) -> NDArray[np.float32]:
            found, served = np.empty((len(ids), self.dimension), dtype=np.float32), served_by(fields, ids)
            for start in range(0, max(map(len, served)), A_RUN):
                run = [places[start : start + A_RUN] for places in served]
                asked = np.tile(first, (max(map(len, run)), 1))
                for column, places in enumerate(run):
                    asked[: len(places), column] = ids[places]
                made = looked_up(asked)
                for column, places in enumerate(run):
                    found[places] = made[: len(places), column]
            return found

        return rows

    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], str]]:
        """Those of the lookups inside."""
        return {f"{key}_{name}": value for key in self._inner for name, value in self._made(key).arrays().items()}

    def tuned_parts(self, rows: NDArray[np.float32]) -> Mapping[str, TunedTable | None]:
        """What learns in the place of lookups inside, by their keys, and of arrays of its own, by their names.

        Args:
            rows: All rows, (num_rows, dimension), where training starts.
        """
        return {}

    def tuned(self, rows: NDArray[np.float32]) -> TunedTable | None:
        """The parts that can learn do; None where none can."""
        twins = {key: twin for key, twin in self.tuned_parts(rows).items() if twin is not None}
        if not twins:
            return None
        learning = type(self).from_config(self.get_config()).filled(self.stored())
        still = {key: TunedFixed(self.part(key).decoded) for key in self._inner if key not in twins}
        learning._twins = {**twins, **still}
        return TunedNested(learning._twins, learning.decoded, name=self.name).masked_as(self.mask_zero)

    def after(self, tuned: Any) -> dict[str, NDArray[Any]]:
        """The arrays after the parts have learned."""
        arrays = self.stored()
        for key, twin in tuned.parts.items():
            if key not in self._inner:
                arrays.update(twin.frozen())
            elif not isinstance(twin, TunedFixed):
                own = self.part(key).after(twin)
                arrays.update({f"{key}_{name}": value for name, value in own.items()})
        return arrays

    def part(self, key: str) -> Any:
        """A lookup inside by itself, its arrays filled in."""
        made = self._made(key)
        return made.filled({name: self._arrays[f"{key}_{name}"].numpy() for name in made.arrays()})

    def decoder(self, key: str) -> Any:
        """A lookup inside, with its arrays; what learns in its place while the table does."""
        if key in self._twins:
            return self._twins[key]
        made = self._made(key)
        made._arrays = {name: self._arrays[f"{key}_{name}"] for name in made.arrays()}
        return made

    def own(self, name: str) -> Any:
        """An array of its own; what it would be in the file while it learns."""
        return self._twins[name].looked_up(None) if name in self._twins else self._arrays[name]

    def integer_rows(self) -> tuple[IntegerRows, ...]:
        """Those of the lookups inside."""
        return tuple(table for key in self._inner for table in self.decoder(key).integer_rows())

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        inner = {key: dict(part) for key, part in self._inner.items()}
        return {**super().get_config(), "inner": inner, "fields": dict(self._fields)}

    def _made(self, key: str) -> TableLookup:
        part = self._inner[key]
        made: TableLookup = keras.saving.get_registered_object(part["kind"]).from_config(dict(part["config"]))
        return made


def served_by(fields: Fields, ids: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Which of the ids each column looks up, as places among them: of those of its field as many as others have."""
    field = fields.of_rows(ids)
    order: NDArray[Any] = np.argsort(field, kind="stable")
    own = np.split(order, np.searchsorted(field[order], np.arange(1, len(fields.starts))))
    served = [order[:0] for _ in fields.columns or ()]
    for number, places in enumerate(own):
        columns = np.flatnonzero(np.asarray(fields.columns) == number)
        for column, part in zip(columns, np.array_split(places, len(columns)), strict=True):
            served[column] = part
    return served


def columns_of(ids: Any, columns: Sequence[int]) -> Any:
    """Some columns of the ids."""
    first = columns[0]
    if list(columns) == list(range(ids.shape[-1])):
        return ids
    if list(columns) == list(range(first, first + len(columns))):
        return ids[..., first : first + len(columns)]
    return tf.gather(ids, np.asarray(columns, dtype=np.int32), axis=-1)


def rows_of(values: Any, columns: Sequence[int]) -> Any:
    """The rows (…, columns, dimension) of some columns of the ids."""
    first, last = columns[0], columns[-1]
    if list(columns) == list(range(values.shape[-2])):
        return values
    if list(columns) == list(range(first, last + 1)):
        return values[..., first : last + 1, :]
    return tf.gather(values, np.asarray(columns, dtype=np.int32), axis=-2)


def constant_of(values: Sequence[int], like: Any) -> Any:
    """One value for all columns, or one a column."""
    same = len(set(values)) == 1
    return tf.constant(values[0] if same else list(values), dtype=like.dtype)
