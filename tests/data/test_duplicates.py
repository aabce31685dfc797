from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tfshop.data import count_duplicates, drop_duplicates, read_table
from tfshop.errors import SchemaError


@pytest.fixture
def table():
    """Six rows: the first three times, one that differs in the time alone, missing values, a list."""
    return read_table(
        pd.DataFrame(
            {
                "event": [1, 2, 1, 1, 5, 5],
                "item": ["b", None, "b", "b", "a", "a"],
                "viewed": [["x"], None, ["x"], ["x"], [], []],
                "when": [1.5, np.nan, 1.5, 1.5, 1.0, 2.0],
            }
        )
    )


def test_rows_that_repeat_an_earlier_one_are_counted(table):
    assert count_duplicates(table) == 2
    assert count_duplicates(table, ["event"]) == 3
    assert count_duplicates(table, ["item", "when"]) == 2
    assert table.num_rows == 6


def test_the_first_of_equal_rows_stays_in_its_place(table):
    assert drop_duplicates(table).sql("SELECT event, item, viewed FROM rows") == [
        (1, "b", ["x"]),
        (2, None, None),
        (5, "a", []),
        (5, "a", []),
    ]
    assert [row[0] for row in drop_duplicates(table, ["event"]).sql("SELECT event FROM rows")] == [1, 2, 5]
    assert count_duplicates(drop_duplicates(table)) == 0
    assert drop_duplicates(table).columns == table.columns


def test_order_survives_in_a_large_table():
    numbers = np.random.default_rng(0).permutation(300_000)
    table = drop_duplicates(read_table(pd.DataFrame({"n": np.concatenate([numbers, numbers[:1000]])})))
    assert [row[0] for row in table.sql("SELECT n FROM rows")] == numbers.tolist()


def test_the_rows_go_when_the_table_does(table):
    kept = drop_duplicates(table).renamed("kept")
    gc.collect()
    path = Path(kept.files[0])
    assert path.exists() and kept.num_rows == 4
    del kept
    gc.collect()
    assert not path.parent.exists()


def test_unknown_columns_are_refused(table):
    with pytest.raises(SchemaError, match="told by 'no' is not a column"):
        count_duplicates(table, ["no"])
