"""The items there are, and how often each is the positive one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop.data.schema import Schema
from tfshop.data.split import Split
from tfshop.errors import DataError, ModelError
from tfshop.models.two_tower import features_of_tower


@dataclass(frozen=True, eq=False)
class Catalogue:
    """All items of the training rows, one row each: the latest.

    Attributes:
        column: Which column of `ids` says which item it is.
        ids: int64 (num_items,), ascending; unknown items (id 0) are none.
        rows: Those rows of the training split, in the order of `ids`.
        popularity: int64 (num_items,): positive training rows of each item.
    """

    column: int
    ids: NDArray[np.int64]
    rows: Split
    popularity: NDArray[np.int64]

    @classmethod
    def of(cls, train: Split, column: int) -> Catalogue:
        """The items of a split.

        Raises:
            DataError: Where every item is unknown, or none is positive.
        """
        keys = item_ids(train.inputs, column)
        latest = len(keys) - 1 - np.unique(keys[::-1], return_index=True)[1]
        ids = np.unique(keys)
        latest, ids = latest[ids > 0], ids[ids > 0]
        counts = np.bincount(keys[train.labels.reshape(len(keys), -1)[:, 0] > 0], minlength=int(keys.max()) + 1)
        popularity = counts[ids]
        if not popularity.sum():
            raise DataError(
                f"the {train.name} split has no positive row with a known item. Expected some to learn from. "
                "Fix: check the target, or the min_count of the item's id feature."
            )
        return cls(column, ids, take_rows(train, latest), popularity)

    def positives(self, split: Split) -> Split:
        """The positive rows of a split whose item is known.

        Raises:
            DataError: For none.
        """
        keys = item_ids(split.inputs, self.column)
        chosen = np.flatnonzero((split.labels.reshape(len(keys), -1)[:, 0] > 0) & np.isin(keys, self.ids))
        if not len(chosen):
            raise DataError(
                f"the {split.name} split has no positive row of an item that was seen in training. Expected some. "
                "Fix: choose another split."
            )
        return take_rows(split, chosen)

    def positions(self, split: Split) -> NDArray[np.int64]:
        """Where the items of a split's rows are in the catalogue; all are known."""
        return np.searchsorted(self.ids, item_ids(split.inputs, self.column))

    def log_probability(self, split: Split) -> NDArray[np.float32]:
        """Logarithm of the chance that a positive training row is of the item of each row, float32 (rows,)."""
        share = np.maximum(self.popularity, 1) / self.popularity.sum()
        return np.asarray(np.log(share[self.positions(split)]), np.float32)

    def popularity_ranks(self, split: Split) -> NDArray[np.int64]:
        """Rank of each row's item when the same list, the most popular first, is shown to everybody."""
        ascending = np.sort(self.popularity)
        own = self.popularity[self.positions(split)]
        return len(ascending) - np.searchsorted(ascending, own)


def item_column(model: Any, schema: Schema, name: str | None = None) -> int:
    """Column of `ids` that says which item a row is about: the item tower's first id feature, or the named one.

    Raises:
        ModelError: Where the item tower has no such id feature.
    """
    features = features_of_tower(model, schema, "item")
    ids = [feature.name for feature in schema.id_features if feature.name in features]
    if not ids or name not in (None, *ids):
        raise ModelError(
            f"the item tower reads the id features {', '.join(map(repr, ids)) or 'none'}, not "
            f"{'one that says which item it is' if name is None else repr(name)}. Expected an IdFeature among its "
            "features. Fix: build_model('two_tower', schema, item=('item_id', …))."
        )
    return [feature.name for feature in schema.id_columns].index(name or ids[0])


def item_ids(inputs: Mapping[str, NDArray[Any]], column: int) -> NDArray[np.int64]:
    """Which item each row is about."""
    return inputs["ids"][:, column].astype(np.int64)


def take_rows(split: Split, rows: NDArray[np.int64]) -> Split:
    """The rows of a split at given positions, in that order."""
    inputs = {name: array[rows] for name, array in split.inputs.items()}
    groups = None if split.groups is None else split.groups[rows]
    return replace(split, inputs=inputs, labels=split.labels[rows], groups=groups)
