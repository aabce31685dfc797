"""A planted market: users and items with a taste, and a popularity that says nothing of taste."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tfshop.data import IdFeature, NumericFeature, Schema, SequenceFeature, Splits, TimeSplit, prepare

NUM_USERS, NUM_ITEMS = 200, 300
ITEM = ("item", "brand", "price")


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def market(num_rows: int = 12_000, *, with_history: bool = False, seed: int = 0) -> Splits:
    """Half the rows are choices by taste and popularity, the other half exposures by popularity alone."""
    rng = np.random.default_rng(seed)
    tastes, kinds = unit(rng.normal(size=(NUM_USERS, 3))), unit(rng.normal(size=(NUM_ITEMS, 3)))
    popularity = 1 / np.arange(1, NUM_ITEMS + 1) ** 0.8
    chances = np.cumsum(np.exp(6 * tastes @ kinds.T) * popularity, axis=1)
    users = rng.integers(0, NUM_USERS, num_rows)
    chosen = (chances[users] < rng.random((num_rows, 1)) * chances[users, -1:]).sum(axis=1)
    shown = np.searchsorted(np.cumsum(popularity) / popularity.sum(), rng.random(num_rows))
    bought = rng.random(num_rows) < 0.5
    items = np.where(bought, chosen, np.minimum(shown, NUM_ITEMS - 1))
    columns = {
        "user": users,
        "item": items,
        "brand": np.round(3 * kinds[items, 0]).astype(int),
        "price": np.exp(kinds[items, 1]),
        "day": np.arange(num_rows) * 10 // num_rows,
        "bought": bought.astype(np.int8),
    }
    features = [IdFeature("user"), IdFeature("item"), IdFeature("brand"), NumericFeature("price", transform="log1p")]
    if with_history:
        likes = np.argsort(-(chances - np.pad(chances, ((0, 0), (1, 0)))[:, :-1]), axis=1)
        columns["liked"] = list(likes[users, 5:9])
        features = [*features[1:], features[0], SequenceFeature("liked", table="item", max_length=4)]
    schema = Schema(features, target="bought", group="user", time="day")
    return prepare(pa.table(columns), schema, split=TimeSplit("day", validation=8, test=9), batch_size=256)
