from __future__ import annotations

import tempfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfshop.data import (
    IdFeature,
    NumericFeature,
    RandomSplit,
    Schema,
    SequenceFeature,
    TimeSplit,
    VectorFeature,
    prepare,
)
from tfshop.data.vocabulary import Vocabulary
from tfshop.errors import DataError, SchemaError, TfshopError

SPLIT = TimeSplit("day", validation=2, test=3)


def test_ids_are_by_descending_count_of_the_training_rows(prepared):
    """Training has north x3, south x2, east x1; west comes later and stays unknown."""
    shops = prepared.schema.vocabularies["shop"]
    assert shops.values.to_pylist() == ["north", "south", "east"]
    assert shops.counts.tolist() == [3, 2, 1]
    assert prepared.train.inputs["ids"][:, 0].tolist() == [1, 2, 1, 1, 2, 3]
    assert prepared.validation.inputs["ids"][:, 0].tolist() == [1, 0, 3]
    assert prepared.train.inputs["ids"].dtype == np.int32


def test_a_shared_table_counts_ids_and_sequences_together(prepared):
    """7: three as item, two kept in sequences; 8: two and two; 9: one and three."""
    items = prepared.schema.vocabularies["item"]
    assert dict(zip(items.values.to_pylist(), items.counts.tolist(), strict=True)) == {"7": 5, "8": 4, "9": 4}


def test_ties_are_ordered_by_value():
    frame = pd.DataFrame({"a": ["b", "c", "a"] * 4, "day": [1] * 6 + [2] * 3 + [3] * 3, "y": [0, 1] * 6})
    data = prepare(frame, Schema([IdFeature("a")], target="y"), split=SPLIT)
    assert data.schema.vocabularies["a"].values.to_pylist() == ["a", "b", "c"]


def test_rare_ids_and_ids_over_the_maximum_become_0(frame):
    for feature, kept in (
        (IdFeature("shop", min_count=2), ["north", "south"]),
        (IdFeature("shop", max_size=1), ["north"]),
    ):
        data = prepare(frame, Schema([feature], target="bought"), split=SPLIT)
        assert data.schema.vocabularies["shop"].values.to_pylist() == kept
        assert data.schema.tables == {"shop": len(kept) + 1}
        assert data.train.inputs["ids"][5, 0] == 0


def test_the_most_recent_of_a_sequence_are_kept_and_padded_at_the_end(prepared):
    ids = {value: i + 1 for i, value in enumerate(prepared.schema.vocabularies["item"].values.to_pylist())}
    seven, eight, nine = ids["7"], ids["8"], ids["9"]
    expected = [[seven, 0, 0], [eight, nine, seven], [0, 0, 0], [0, 0, 0], [eight, nine, 0], [nine, 0, 0]]
    assert prepared.train.inputs["hist_viewed"].tolist() == expected
    assert prepared.validation.inputs["hist_viewed"][1].tolist() == [0, seven, 0], "unseen in the middle is 0"


def test_text_sequences_are_split_by_their_separator(frame):
    joined = frame.assign(viewed=["a;b;c", "c", "", None, "b", "a"] * 2)
    schema = Schema([SequenceFeature("viewed", table="item", max_length=2, separator=";")], target="bought")
    data = prepare(joined, schema, split=SPLIT)
    values = data.schema.vocabularies["item"].values.to_pylist()
    assert values == ["b", "c", "a"]
    assert data.train.inputs["hist_viewed"].tolist() == [[1, 2], [2, 0], [0, 0], [0, 0], [1, 0], [3, 0]]


def test_numbers_pass_raw_and_statistics_see_training_rows_only(prepared):
    np.testing.assert_array_equal(prepared.train.inputs["numeric"][:, 0], np.float32([1, 2, np.nan, 4, 5, 6]))
    statistics = prepared.schema.statistics["price"]
    assert (statistics.count, statistics.missing) == (5, 1)
    assert (statistics.mean, statistics.maximum) == (pytest.approx(3.6), 6.0)


def test_later_rows_do_not_change_what_is_learned(frame, schema, prepared):
    other = frame.copy()
    other.loc[6:, "shop"] = "elsewhere"
    other.loc[6:, "price"] = 9999.0
    assert prepare(other, schema, split=SPLIT).schema == prepared.schema


def test_preparing_twice_gives_the_same_arrays(frame, schema, prepared):
    one, two = prepare(frame, schema, split=SPLIT), prepared
    assert one.schema.to_json() == two.schema.to_json()
    for name in one.train.inputs:
        np.testing.assert_array_equal(one.train.inputs[name], two.train.inputs[name])


def test_ids_have_one_text_form_whatever_the_column_type(frame):
    day = pd.to_datetime("2024-03-01")
    columns = {
        "i": [7] * 12,
        "b": [True] * 12,
        "d": [day.date()] * 12,
        "s": ["07"] * 12,
        "c": pd.Categorical(["k"] * 12),
    }
    schema = Schema([IdFeature(name) for name in columns], target="bought")
    found = prepare(frame.assign(**columns), schema, split=SPLIT).schema.vocabularies
    texts = [found[name].values.to_pylist() for name in columns]
    assert texts == [["7"], ["true"], ["2024-03-01"], ["07"], ["k"]]


def test_csv_and_parquet_and_frames_prepare_alike(frame, schema, tmp_path, monkeypatch):
    """The vectors and lists cannot be in a CSV; the sequence is joined there. No temporary file stays behind."""
    plain = frame.drop(columns=["image"]).assign(
        viewed=[None if v is None else "|".join(map(str, v)) for v in frame["viewed"]]
    )
    smaller = Schema(schema.features[:4], target="bought")
    plain.to_csv(tmp_path / "t.csv", index=False)
    pq.write_table(pa.Table.from_pandas(plain), tmp_path / "t.parquet")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    results = [prepare(source, smaller, split=SPLIT) for source in (plain, tmp_path / "t.csv", tmp_path / "t.parquet")]
    assert list(scratch.iterdir()) == []
    for result in results:
        assert result.schema == results[0].schema
        for name, values in results[0].test.inputs.items():
            np.testing.assert_array_equal(result.test.inputs[name], values)


def test_columns_may_have_any_name():
    """Names that SQL, or the queries of this package, use themselves."""
    names = ["id", "value", "n", "v", "history", "rows", "group", "order", 'quo"te', "it's", "numbered", "total"]
    frame = pd.DataFrame({name: ["a", "b"] * 6 for name in names}).assign(day=[1] * 6 + [2] * 3 + [3] * 3)
    frame["select"] = [0, 1] * 6
    schema = Schema([IdFeature(name) for name in names], target="select", group="v")
    data = prepare(frame, schema, split=SPLIT)
    assert data.train.inputs["ids"].tolist() == [[1] * len(names), [2] * len(names)] * 3
    assert data.train.groups.tolist() == [1, 2] * 3


@pytest.mark.parametrize(
    "target",
    [[True, False] * 6, [1.0, 0.0] * 6, ["true", "FALSE"] * 6, ["1", "0"] * 6],
    ids=["boolean", "float", "text", "digits"],
)
def test_labels_may_be_booleans_and_their_text(frame, schema, target):
    data = prepare(frame.assign(bought=target), schema, split=SPLIT)
    assert data.train.labels.tolist() == [1, 0, 1, 0, 1, 0]
    assert data.train.labels.dtype == np.float32


def changed(frame: pd.DataFrame, column: str, row: int, value: object) -> pd.DataFrame:
    values = list(frame[column])
    values[row] = value
    return frame.assign(**{column: values})


BAD_TARGETS = {
    "missing in 1 of 12 rows": lambda frame: changed(frame, "bought", 3, None),
    r"neither 0 nor 1 in 1 of 12 rows \(first: row 3, 2": lambda frame: changed(frame, "bought", 3, 2),
    "'yes'": lambda frame: frame.assign(bought=["yes", "no"] * 6),
    "is 1 in all 6 rows of the train split": lambda frame: frame.assign(bought=[1] * 6 + [0, 1] * 3),
    "is 0 in all 3 rows of the validation split": lambda frame: frame.assign(bought=[0, 1] * 3 + [0] * 3 + [0, 1, 0]),
    "is 0 in all 3 rows of the test split": lambda frame: frame.assign(bought=[0, 1] * 3 + [0, 1, 0] + [0] * 3),
    "target 'bought' is not a column": lambda frame: frame.drop(columns="bought"),
    "has type DOUBLE": lambda frame: frame.assign(bought=[[0.0]] * 12),
}


@pytest.mark.parametrize("found", BAD_TARGETS)
def test_a_target_that_cannot_be_learned_is_refused(frame, schema, found):
    with pytest.raises((DataError, SchemaError), match=found) as raised:
        prepare(BAD_TARGETS[found](frame), schema, split=SPLIT)
    assert "Fix:" in str(raised.value)


BAD_COLUMNS = {
    "'price' is not a column": lambda frame: frame.drop(columns="price"),
    "'price' is declared NumericFeature, but 2 of 12 values are not numbers .first: row 1, '12,50'": (
        lambda frame: frame.assign(price=["1", "12,50", "3", "4", "5", "x", *"678901"])
    ),
    "'price' is declared NumericFeature, but its type is TIMESTAMP": (
        lambda frame: frame.assign(price=pd.Timestamp("2024-01-01"))
    ),
    "'price' is inf in row 8": lambda frame: changed(frame, "price", 8, np.inf),
    "'price' is 1e.39 in row 2": lambda frame: changed(frame, "price", 2, 1e39),
    "'price' is missing in all 12 rows": lambda frame: frame.assign(price=np.nan),
    "'price' is missing in all 6 training rows": lambda frame: frame.assign(price=[np.nan] * 6 + [1.0] * 6),
    "'item' is declared IdFeature, but its type is DOUBLE .e.g. 7.0": lambda frame: changed(frame, "item", 1, None),
    "'item' is declared IdFeature, but its type is BIGINT": lambda frame: frame.assign(item=[[1, 2]] * 12),
    "'shop' is missing in all 12 rows": lambda frame: frame.assign(shop=pd.Series([None] * 12, dtype="string")),
    "'viewed' is declared SequenceFeature, but its type is DOUBLE": lambda frame: frame.assign(viewed=[[0.5]] * 12),
    "'viewed' is declared SequenceFeature, but its type is BIGINT": lambda frame: frame.assign(viewed=3),
    "'viewed' is missing in all 12 rows": lambda frame: frame.assign(viewed=pd.Series([None] * 12, dtype="string")),
    "'image' is declared VectorFeature, but its type is VARCHAR": lambda frame: frame.assign(image="0.5"),
    "'image' has a vector of 1 numbers in row 4. Expected 2": lambda frame: changed(frame, "image", 4, [0.5]),
    "'image' has a vector with missing or infinite numbers in row 4": (
        lambda frame: changed(frame, "image", 4, [0.5, np.inf])
    ),
}


@pytest.mark.parametrize("found", BAD_COLUMNS)
def test_a_column_that_is_not_what_is_declared_is_refused(frame, schema, found):
    with pytest.raises((DataError, SchemaError), match=found) as raised:
        prepare(BAD_COLUMNS[found](frame), schema, split=SPLIT)
    assert "Expected" in str(raised.value)
    assert "Fix:" in str(raised.value)


def test_the_message_about_text_in_a_numeric_column_is_the_one_of_the_house(frame, schema):
    with pytest.raises(SchemaError) as raised:
        prepare(frame.assign(price=["1", "12,50", *"3456789012"]), schema, split=SPLIT)
    assert str(raised.value) == (
        "column 'price' is declared NumericFeature, but 1 of 12 values are not numbers (first: row 1, '12,50'). "
        "Expected numbers or missing values. Fix: clean the column, or declare IdFeature('price')."
    )


def test_numbers_in_text_columns_are_numbers(frame, schema):
    data = prepare(frame.assign(price=[f" {i}.5" for i in range(12)]), schema, split=SPLIT)
    assert data.train.inputs["numeric"][:2, 0].tolist() == [0.5, 1.5]


def test_a_missing_group_or_time_column_is_named(frame, schema):
    for role in ("group", "time"):
        with pytest.raises(SchemaError, match=f"the {role} 'nowhere'"):
            prepare(frame, schema.replace(**{role: "nowhere"}), split=SPLIT)


def test_empty_tables_and_wrong_batch_sizes_are_refused(frame, schema):
    with pytest.raises(DataError, match="no rows"):
        prepare(frame.head(0), schema, split=SPLIT)
    with pytest.raises(DataError, match="batch_size"):
        prepare(frame, schema, split=SPLIT, batch_size=0)


def test_missing_vectors_are_zeros_and_fixed_size_lists_are_read(frame):
    schema = Schema([VectorFeature("image", width=2)], target="bought")
    data = prepare(changed(frame, "image", 0, None), schema, split=SPLIT)
    assert data.train.inputs["vector_image"][:2].tolist() == [[0, 0], [0.5, 1]]
    table = pa.Table.from_pandas(frame[["day", "bought"]])
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(24, dtype=np.float32)), 2)
    data = prepare(table.append_column("image", fixed), schema, split=SPLIT)
    assert data.train.inputs["vector_image"][1].tolist() == [2, 3]


def test_large_tables_keep_order_across_batches():
    """More rows than one batch of the reader, so that every row has to find its place."""
    num_rows = 300_000
    frame = pd.DataFrame({"a": np.arange(num_rows) % 1000, "x": np.arange(num_rows, dtype=float)})
    frame["day"] = np.arange(num_rows) % 5
    frame["y"] = np.arange(num_rows) % 2
    schema = Schema([IdFeature("a"), NumericFeature("x")], target="y")
    data = prepare(frame, schema, split=TimeSplit("day", validation=3, test=4))
    for part, days in ((data.train, (0, 1, 2)), (data.validation, (3,)), (data.test, (4,))):
        rows = frame[frame["day"].isin(days)]
        np.testing.assert_array_equal(part.inputs["numeric"][:, 0], rows["x"])
        np.testing.assert_array_equal(part.labels, rows["y"])
    vocabulary = data.schema.vocabularies["a"]
    np.testing.assert_array_equal(data.test.inputs["ids"][:, 0], vocabulary.ids([str(a) for a in rows["a"]]))


def test_every_refusal_is_a_tfshop_error():
    assert issubclass(DataError, TfshopError)
    assert issubclass(SchemaError, TfshopError)


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_fitted_schema_is_kept_where_a_trained_network_needs_its_ids(on_disk, tmp_path):
    """Counted anew, the other order of frequencies would give every item the id of another."""
    folder = {"cache_dir": tmp_path} if on_disk else {}
    split = TimeSplit("day", validation=2, test=3)
    rows = pa.table({"item": ["a", "b", "b", "b"] * 3, "day": [1] * 4 + [2] * 4 + [3] * 4, "bought": [0, 1] * 6})
    schema = Schema([IdFeature("item")], target="bought", vocabularies={"item": Vocabulary(["a", "b", "c"], [9, 5, 1])})
    kept = prepare(rows, schema, split=split, refit=False, **folder)
    assert kept.schema.vocabularies == schema.vocabularies
    assert kept.test.inputs["ids"].ravel().tolist() == [1, 2, 2, 2]
    assert prepare(rows, schema, split=split, **folder).test.inputs["ids"].ravel().tolist() == [2, 1, 1, 1]


def test_a_schema_that_was_never_fitted_cannot_be_kept():
    rows = pa.table({"item": ["a", "b"] * 6, "day": [1] * 4 + [2] * 4 + [3] * 4, "bought": [0, 1] * 6})
    with pytest.raises(SchemaError, match="Expected a fitted schema"):
        prepare(rows, Schema([IdFeature("item")], target="bought"), split=RandomSplit(seed=0), refit=False)
