from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest

from tfshop.data import GroupSplit, IdFeature, RandomSplit, Schema, TimeSplit, prepare
from tfshop.errors import DataError, SchemaError


def rows(num_rows: int = 3000) -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "row": np.arange(num_rows),
            "user": random.integers(0, 200, num_rows),
            "day": random.integers(0, 10, num_rows),
            "y": random.integers(0, 2, num_rows),
        }
    )


def rows_of(frame: pd.DataFrame, split) -> list[np.ndarray]:
    """Return which rows of the frame each part holds: every row is its own id and its own group."""
    data = prepare(frame, Schema([IdFeature("user")], target="y", group="row"), split=split)
    order = np.sort(frame["row"].astype(str).to_numpy().astype(object))  # group n is the n-th text
    return [order[part.groups - 1].astype(int) for part in (data.train, data.validation, data.test)]


def test_time_limits_belong_to_the_later_part():
    frame = rows()
    for part, days in zip(
        rows_of(frame, TimeSplit("day", validation=7, test=9)), (range(7), (7, 8), (9,)), strict=True
    ):
        assert set(frame["day"][part]) == set(days)


def test_parts_keep_the_order_of_the_table_and_lose_nothing():
    for split in (TimeSplit("day", validation=7, test=9), GroupSplit("user"), RandomSplit()):
        parts = rows_of(rows(), split)
        for part in parts:
            assert (np.diff(part) > 0).all()
        assert sorted(np.concatenate(parts)) == list(range(3000))


def test_a_group_is_never_in_two_parts():
    frame = rows()
    train, validation, test = ({*frame["user"][part]} for part in rows_of(frame, GroupSplit("user")))
    assert not train & validation
    assert not train & test
    assert not validation & test


def test_fractions_are_met_on_average():
    for split in (RandomSplit(validation=0.1, test=0.3), GroupSplit("row", validation=0.1, test=0.3)):
        sizes = np.array([len(part) for part in rows_of(rows(), split)]) / 3000
        assert sizes == pytest.approx([0.6, 0.1, 0.3], abs=0.03)


def test_the_same_seed_gives_the_same_parts_and_another_seed_others():
    for rule in (RandomSplit, lambda **arguments: GroupSplit("user", **arguments)):
        first, again, other = (rows_of(rows(), rule(seed=seed))[2].tolist() for seed in (1, 1, 2))
        assert first == again
        assert first != other


def test_the_assignment_is_fixed_for_all_versions():
    """MD5 of the seed and the row: these rows are the test rows wherever tfshop runs."""
    assert rows_of(rows(), RandomSplit(seed=0))[2][:6].tolist() == FIRST_TEST_ROWS


FIRST_TEST_ROWS = [5, 8, 17, 79, 80, 104]


def test_a_group_keeps_its_part_when_rows_are_added():
    frame = rows()
    before = {*frame["user"][rows_of(frame, GroupSplit("user"))[2]]}
    longer = rows(4000).assign(user=[*frame["user"], *range(200, 1200)])
    after = {*longer["user"][rows_of(longer, GroupSplit("user"))[2]]}
    assert before <= after


@pytest.mark.parametrize("text", [False, True])
def test_dates_are_compared_as_dates(text):
    day = pd.Series(pd.date_range("2024-01-01", periods=30, freq="D"))
    frame = pd.DataFrame({"day": day.dt.strftime("%Y-%m-%d") if text else day, "a": "s", "y": [0, 1] * 15})
    schema = Schema([IdFeature("a")], target="y", time="day")
    limits = [("2024-01-11", "2024-01-21")]
    if not text:
        limits.append((datetime.date(2024, 1, 11), datetime.date(2024, 1, 21)))
    for validation, test in limits:
        data = prepare(frame, schema, split=TimeSplit("day", validation=validation, test=test))
        assert [part.num_rows for part in (data.train, data.validation, data.test)] == [10, 10, 10]


@pytest.mark.parametrize(
    "make",
    [
        lambda: TimeSplit("day", validation=5, test=5),
        lambda: TimeSplit("day", validation=6, test=5),
        lambda: TimeSplit("day", validation="2024-01-01", test=5),
        lambda: GroupSplit("user", validation=0.5, test=0.5),
        lambda: GroupSplit("user", validation=0.0),
        lambda: RandomSplit(test=1.0),
        lambda: RandomSplit(test=-0.1),
    ],
)
def test_rules_that_cannot_split_are_refused_at_construction(make):
    with pytest.raises(DataError, match="Expected"):
        make()


def test_an_empty_part_is_named_with_the_range_of_its_column():
    schema = Schema([IdFeature("user")], target="y")
    with pytest.raises(DataError, match=r"the test split .* is empty: column 'day' goes from 0 to 9"):
        prepare(rows(), schema, split=TimeSplit("day", validation=7, test=43))
    with pytest.raises(DataError, match="the train split"):
        prepare(rows(), schema, split=TimeSplit("day", validation=-1, test=5))
    with pytest.raises(DataError, match="is empty: the table has 3 rows"):
        prepare(rows(3), schema, split=RandomSplit())


def test_limits_of_another_type_than_the_column_are_refused():
    schema = Schema([IdFeature("user")], target="y")
    with pytest.raises(SchemaError, match="compares column 'day' of type BIGINT with '2024-01-01'"):
        prepare(rows(), schema, split=TimeSplit("day", validation="2024-01-01", test="2025-01-01"))


def test_missing_times_and_groups_are_counted():
    schema = Schema([IdFeature("row")], target="y")
    frame = rows().astype({"day": "Int64", "user": "Int64"})
    frame.loc[[4, 9], ["day", "user"]] = pd.NA
    for split in (TimeSplit("day", validation=7, test=9), GroupSplit("user")):
        with pytest.raises(DataError, match=r"missing in 2 of 3,000 rows \(first: row 4\)"):
            prepare(frame, schema, split=split)


def test_a_split_column_that_is_not_there_is_named():
    with pytest.raises(SchemaError, match="TimeSplit 'week' is not a column"):
        prepare(rows(), Schema([IdFeature("row")], target="y"), split=TimeSplit("week", validation=1, test=2))


def test_rules_refuse_what_is_no_column_and_no_fraction():
    with pytest.raises(DataError, match="column=None"):
        GroupSplit(None)
    with pytest.raises(DataError, match="validation='a'"):
        RandomSplit(validation="a")
    frame = pd.DataFrame({"item": ["a"], "bought": [1]})
    with pytest.raises(DataError, match=r"split is 'week'.*Fix: split=TimeSplit"):
        prepare(frame, Schema([IdFeature("item")], target="bought"), split="week")
