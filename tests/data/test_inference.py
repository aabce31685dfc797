from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest

from tfshop.data import IdFeature, NumericFeature, Schema, SequenceFeature, VectorFeature, read_table
from tfshop.errors import SchemaError

NUM_ROWS = 500


@pytest.fixture
def table():
    random = np.random.default_rng(0)
    start = datetime.date(2024, 1, 1)
    return read_table(
        pd.DataFrame(
            {
                "user_id": random.integers(0, 100, NUM_ROWS),
                "order_id": np.arange(NUM_ROWS),
                "brand": random.choice(["x", "y", "z"], NUM_ROWS),
                "rating": random.integers(1, 6, NUM_ROWS),
                "clicks": random.integers(0, 1000, NUM_ROWS),
                "price": np.exp(random.normal(0, 2, NUM_ROWS)),
                "distance": random.normal(0, 1, NUM_ROWS),
                "member": random.random(NUM_ROWS) < 0.5,
                "comment": [f"a long remark that nobody else has made, number {i}" for i in range(NUM_ROWS)],
                "constant": "same",
                "empty": pd.Series([None] * NUM_ROWS, dtype="float64"),
                "when": [start + datetime.timedelta(days=i) for i in range(NUM_ROWS)],
                "week": np.arange(NUM_ROWS) // 50,
                "hist_brand": [["x", "y"], ["z"]] * (NUM_ROWS // 2),
                "hist_users": ["1|2|3"] * (NUM_ROWS - 1) + ["4"],
                "image": [np.zeros(4) + i for i in range(NUM_ROWS)],
                "ragged": [[0.5] * (1 + i % 2) for i in range(NUM_ROWS)],
                "secret": random.integers(0, 5, NUM_ROWS),
                "bought": random.integers(0, 2, NUM_ROWS),
            }
        )
    )


def test_features_follow_types_and_values(table):
    schema = Schema.infer(table, target="bought", group="user_id", time="week", exclude=["secret"])
    assert schema.features == (
        IdFeature("user_id"),
        IdFeature("brand"),
        IdFeature("rating"),
        NumericFeature("clicks", transform="standard"),
        NumericFeature("price", transform="log1p"),
        NumericFeature("distance", transform="standard"),
        IdFeature("member"),
        SequenceFeature("hist_brand", table="brand"),
        SequenceFeature("hist_users", table="user_id"),
        VectorFeature("image", width=4),
    )
    assert (schema.target, schema.group, schema.time) == ("bought", "user_id", "week")


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ("bought", "it is the target"),
        ("week", "it is the time"),
        ("secret", "it is excluded"),
        ("order_id", "it names rows"),
        ("comment", "hardly repeat"),
        ("constant", "one value only"),
        ("empty", "missing in every row"),
        ("when", "it is a date"),
        ("ragged", "different lengths"),
    ],
)
def test_what_is_left_out_is_said_with_the_reason(table, column, reason):
    schema = Schema.infer(table, target="bought", group="user_id", time="week", exclude=["secret"])
    assert column not in {feature.name for feature in schema.features}
    (sentence,) = [decision for decision in schema.decisions if decision.startswith(f"{column}: ")]
    assert "left out" in sentence
    assert reason in sentence
    assert sentence in schema.describe()


def test_every_column_has_one_decision(table):
    schema = Schema.infer(table, target="bought")
    assert [decision.split(":")[0] for decision in schema.decisions] == list(table.columns)


def test_a_group_is_kept_even_if_it_hardly_repeats(table):
    schema = Schema.infer(table, target="bought", group="order_id")
    assert IdFeature("order_id") in schema.features


def test_unknown_columns_and_tables_without_features_are_refused(table):
    for arguments in ({"target": "no"}, {"target": "bought", "group": "no"}, {"target": "bought", "exclude": ["no"]}):
        with pytest.raises(SchemaError, match="'no' is not a column"):
            Schema.infer(table, **arguments)
    with pytest.raises(SchemaError, match=r"no column of .* can be a feature"):
        Schema.infer(read_table(pd.DataFrame({"y": [0, 1], "c": ["s", "s"]})), target="y")


def test_infinite_and_missing_numbers_do_not_disturb_inference():
    frame = pd.DataFrame({"x": [np.inf, np.nan, -1.0, *np.linspace(0, 1, 40)], "y": [0, 1, *[1] * 41]})
    assert Schema.infer(read_table(frame), target="y").features == (NumericFeature("x", transform="standard"),)


def test_an_inferred_schema_comes_back_from_json_with_its_decisions(table):
    schema = Schema.infer(table, target="bought")
    assert Schema.from_json(schema.to_json()) == schema
    assert Schema.from_json(schema.to_json()).decisions == schema.decisions


@pytest.mark.parametrize("name", ["user", "item", "sku", "seen_product", "targetItem", "STORE", "shop_id", "brandCode"])
def test_integers_named_after_somebody_or_something_are_ids_however_many(name):
    frame = pd.DataFrame({name: np.arange(NUM_ROWS) % 200 * 37 + 5, "y": [0, 1] * (NUM_ROWS // 2)})
    assert Schema.infer(read_table(frame), target="y").features == (IdFeature(name),)


@pytest.mark.parametrize("name", ["user_age", "item_count", "items", "clicks", "price_cents", "storey", "x"])
def test_other_integers_are_numbers(name):
    frame = pd.DataFrame({name: np.arange(NUM_ROWS) % 200 * 37 + 5, "y": [0, 1] * (NUM_ROWS // 2)})
    (feature,) = Schema.infer(read_table(frame), target="y").features
    assert isinstance(feature, NumericFeature)


def test_integers_that_count_through_and_repeat_are_ids():
    codes = np.arange(20_000)
    frame = pd.DataFrame({"x": codes % 2000 + 1, "gaps": codes % 2000 * 2, "once": codes % 7000, "y": codes % 2})
    schema = Schema.infer(read_table(frame), target="y")
    assert [type(feature) for feature in schema.features] == [IdFeature, NumericFeature, NumericFeature]
    assert "as ids do that were numbered" in schema.describe()


def test_ids_and_numeric_overrule_what_columns_look_like(table):
    schema = Schema.infer(table, target="bought", ids=["clicks", "order_id"], numeric=["rating"], exclude=["secret"])
    assert {IdFeature("clicks"), IdFeature("order_id"), NumericFeature("rating", transform="standard")} <= set(
        schema.features
    )
    assert "clicks: IdFeature, because ids names it." in schema.decisions


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"time": "bought"}, "'bought' is named twice: it is the target and the time"),
        ({"group": "bought"}, "it is the target and the group"),
        ({"ids": ["price"], "numeric": ["price"]}, "it is in ids and in numeric"),
        ({"ids": ["bought"]}, "it is the target and in ids"),
        ({"numeric": ["week"], "time": "week"}, "it is the time and in numeric"),
        ({"ids": ["no"]}, "in ids 'no' is not a column"),
    ],
)
def test_a_column_named_for_two_things_is_refused(table, arguments, found):
    with pytest.raises(SchemaError, match=found) as raised:
        Schema.infer(table, target="bought", **arguments)
    assert "Fix:" in str(raised.value)


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%Y-%m-%dT%H:%M:%S", "%d-%m-%y"])
def test_dates_as_text_are_left_out(form):
    days = [(datetime.datetime(2024, 1, 1) + datetime.timedelta(days=i % 50)).strftime(form) for i in range(NUM_ROWS)]
    frame = pd.DataFrame({"when": days, "item": ["1-2", "1.2.x"] * (NUM_ROWS // 2), "y": [0, 1] * (NUM_ROWS // 2)})
    schema = Schema.infer(read_table(frame), target="y")
    assert schema.features == (IdFeature("item"),)
    assert "reads as dates" in schema.describe()


def test_numbers_with_a_few_words_among_them_are_ids_and_the_reason_says_how_to_make_numbers():
    frame = pd.DataFrame({"price": ["1.5", "2", "3.25", "4"] * 30 + ["N/A"], "y": [0, 1] * 60 + [1]})
    schema = Schema.infer(read_table(frame), target="y")
    assert schema.features == (IdFeature("price"),)
    assert "1 of 121 are no numbers, such as 'N/A'" in schema.decisions[0] and "missing=['N/A']" in schema.decisions[0]
