"""A small table with every kind of column, and its schema."""

from __future__ import annotations

import pandas as pd
import pytest

from tfshop.data import IdFeature, NumericFeature, Schema, SequenceFeature, Splits, TimeSplit, VectorFeature, prepare

SHOPS = ["north", "south", "north", "north", "south", "east"]


@pytest.fixture
def frame() -> pd.DataFrame:
    return table()


@pytest.fixture
def schema() -> Schema:
    return schema_of_table()


@pytest.fixture(scope="session")
def prepared() -> Splits:
    """The table by its schema, a day a part; tests leave it as it is."""
    return prepare(table(), schema_of_table(), split=TimeSplit("day", validation=2, test=3))


def table() -> pd.DataFrame:
    """Twelve rows over three days: day 1 (six rows) is for training, days 2 and 3 for validation and test."""
    return pd.DataFrame(
        {
            "shop": [*SHOPS, "north", "west", "east", "west", "south", "north"],
            "item": [7, 8, 7, 7, 9, 8, 7, 10, 9, 8, 11, 7],
            "price": [1.0, 2.0, None, 4.0, 5.0, 6.0, 100.0, 8.0, None, 10.0, 11.0, 12.0],
            "viewed": [[7], [7, 8, 9, 7], [], None, [8, 9], [9], [8], [10, 7], [], [7], [7, 8], [11]],
            "image": [[0.5, float(i)] for i in range(12)],
            "day": [1] * 6 + [2] * 3 + [3] * 3,
            "bought": [0, 1, 0, 1, 0, 1, 1, 0, 0, 1, 0, 1],
        }
    )


def schema_of_table() -> Schema:
    """One feature of each kind; the sequence shares the table of `item`."""
    return Schema(
        [
            IdFeature("shop"),
            IdFeature("item"),
            NumericFeature("price", transform="standard"),
            SequenceFeature("viewed", table="item", max_length=3),
            VectorFeature("image", width=2),
        ],
        target="bought",
        group="shop",
        time="day",
    )
