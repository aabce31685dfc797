"""The lookup of a table whose rows several codecs store by frequency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras, tf
from tfshop.tables.nested import NestedLookup, columns_of, constant_of, rows_of
from tfshop.tables.tuning import TunedTable


@keras.utils.register_keras_serializable(package="tfshop")
class GroupedLookup(NestedLookup):
    """Ids through the lookups of all parts, of which one is chosen; see `NestedLookup`: the parts inside.

    Args:
        num_rows: Rows of the table.
        dimension: Numbers a row.
        parts: Of each lookup inside the "columns" of the ids that it serves (None for ids of any shape), and "lows",
            "highs" and "shifts" of each.
        **kwargs: As `NestedLookup` takes them.
    """

    def __init__(self, num_rows: int, dimension: int, *, parts: Mapping[str, Mapping[str, Any]], **kwargs: Any) -> None:
        super().__init__(num_rows, dimension, **kwargs)
        self._served = {key: dict(part) for key, part in parts.items()}

    @property
    def _parts(self) -> list[dict[str, Any]]:
        return list(self._served.values())

    def tuned_parts(self, rows: NDArray[np.float32]) -> Mapping[str, TunedTable | None]:
        """Each part with the rows of each field between its boundaries, one field below the other."""
        edges = {key: sorted(set(zip(part["lows"], part["highs"], strict=True))) for key, part in self._served.items()}
        own = {key: np.concatenate([rows[low:high] for low, high in pairs]) for key, pairs in edges.items()}
        return {key: self.part(key).tuned(some) for key, some in own.items()}

    def decoded(self, ids: Any) -> Any:
        """A lookup a part; columns that have the same parts are chosen from together."""
        if self._parts[0]["columns"] is None:
            return self._chosen(ids, list(zip(self._parts, self._looked_up(ids), strict=True)))
        looked_up, joined, order = self._looked_up(ids), [], []
        for signature, columns in self._runs().items():
            own = []
            for number in signature:
                part = self._parts[number]
                places = [part["columns"].index(column) for column in columns]
                highs = [part["highs"][place] for place in places]
                own.append(({"highs": highs}, rows_of(looked_up[number], places)))
            joined.append(self._chosen(columns_of(ids, columns), own))
            order += columns
        rows = joined[0] if len(joined) == 1 else tf.concat(joined, axis=-2)
        return rows_of(rows, [order.index(column) for column in range(len(order))])

    def _runs(self) -> dict[tuple[int, ...], list[int]]:
        """Parts, to the columns that have rows in those and no others."""
        runs: dict[tuple[int, ...], list[int]] = {}
        for column in sorted({column for part in self._parts for column in part["columns"]}):
            signature = tuple(n for n, part in enumerate(self._parts) if column in part["columns"])
            runs.setdefault(signature, []).append(column)
        return dict(sorted(runs.items()))

    def _looked_up(self, ids: Any) -> list[Any]:
        """Rows of each part; an id of another part gives some row of this one."""
        pieces = []
        for number, (key, part) in enumerate(self._served.items()):
            own = ids if part["columns"] is None else columns_of(ids, part["columns"])
            if self._is_outer(number, range(number)):
                own = tf.maximum(own, constant_of(part["lows"], own))
            if self._is_outer(number, range(number + 1, len(self._parts))):
                own = tf.minimum(own, constant_of([high - 1 for high in part["highs"]], own))
            if any(part["shifts"]):
                own = own + constant_of(part["shifts"], own)
            pieces.append(self.decoder(key).decoded(own))
        return pieces

    def _is_outer(self, number: int, others: Sequence[int]) -> bool:
        """Whether other parts serve columns of this one."""
        columns = self._parts[number]["columns"]
        return any(columns is None or set(columns) & set(self._parts[other]["columns"]) for other in others)

    def _chosen(self, ids: Any, pieces: Sequence[tuple[Mapping[str, Any], Any]]) -> Any:
        """Of each row that of the part which its id belongs to."""
        chosen = pieces[-1][1]
        for part, piece in reversed(pieces[:-1]):
            chosen = tf.where(tf.expand_dims(ids < constant_of(part["highs"], ids), -1), piece, chosen)
        return chosen

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "parts": {key: dict(part) for key, part in self._served.items()}}
