from __future__ import annotations

import unicodedata

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfshop.data import IdFeature, NumericFeature, RandomSplit, Schema, TimeSplit, prepare, read_table
from tfshop.errors import DataError, SchemaError

MANY = 250_000  # more than the rows whose types are looked at


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"\n", "begins with an empty line"),
        (b"a,b,c\n1,2,3\n4,5\n6,7,8\n", r"has 2 columns in line 3\. Expected 3"),
        (b"a,b,c\n1,2,3\n4,5,6,7\n6,7,8\n", r"has 4 columns in line 3\. Expected 3"),
        (b'a,b\n"x\ny",1\n2\n', r"has 1 columns in line 4\. Expected 2"),
        (b"a,b,c\n" + b"1,2,3\n" * MANY + b"4,5\n", r"has 2 columns in line 250,002\. Expected 3"),
        (b"price,y\n" + b"1.5,0\n" * MANY + b"N/A,1\n", r"'N/A' in column 'price' in line 250,002.*missing=\['N/A'\]"),
        ("item,n\nGröße,1\nb,2\n".encode("latin1"), "is not UTF-8: it has other bytes in line 2.*iconv"),
        ("item,n\nä,1\n".encode("utf-16"), "is not UTF-8 but UTF-16"),
        (b"Item,item,n\na,b,1\n", "columns 'Item' and 'item', which are one name but for case"),
        (b"item,item\na,b\n", "columns 'item' and 'item'"),
        (b"c,y\n" + b"x" * 17_000_000 + b",1\n", "has more than 16,000,000 bytes"),
    ],
)
def test_a_file_that_is_broken_is_refused_with_the_line_and_the_way_out(tmp_path, content, found):
    path = tmp_path / "log.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=found) as raised:
        read_table(path).sql("SELECT * FROM rows")
    assert "log.csv" in str(raised.value) and "Fix:" in str(raised.value) and len(str(raised.value)) < 500


def test_columns_that_differ_in_case_alone_are_refused_in_frames_and_parquet_too(tmp_path):
    table = pa.table({"Item": ["a"], "item": ["b"]})
    pq.write_table(table, tmp_path / "t.parquet")
    for source in (table, table.to_pandas(), tmp_path / "t.parquet"):
        with pytest.raises(DataError, match="one name but for case"):
            read_table(source)


def test_lists_in_parquet_are_not_taken_for_columns_of_one_name(tmp_path):
    pq.write_table(pa.table({"a": [[1]], "b": [["x"]], "element": [3]}), tmp_path / "t.parquet")
    assert set(read_table(tmp_path / "t.parquet").columns) == {"a", "b", "element"}


def test_texts_that_stand_for_no_value_are_read_as_missing(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("price,country,y\n1.5,NA,0\nN/A,DE,1\n-,,0\n2,-,1\n")
    table = read_table(path, missing=["N/A", "-"])
    assert table.columns["price"] == "DOUBLE"
    assert table.sql("SELECT price, country FROM rows") == [(1.5, "NA"), (None, "DE"), (None, None), (2.0, None)]
    assert read_table(path).columns["price"] == "VARCHAR"


def test_words_in_a_declared_number_name_the_row_and_the_option(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("price,y\n" + "1.5,0\n2.5,1\n" * 30 + "N/A,1\n")
    schema = Schema([NumericFeature("price")], target="y")
    with pytest.raises(
        SchemaError, match=r"1 of 61 values are not numbers \(first: row 60, 'N/A'\).*missing=\['N/A'\]"
    ):
        prepare(path, schema, split=RandomSplit(0.2, 0.2))
    data = prepare(read_table(path, missing=["N/A"]), schema, split=RandomSplit(0.2, 0.2))
    assert sum(np.isnan(part.inputs["numeric"]).sum() for part in (data.train, data.validation, data.test)) == 1


@pytest.mark.parametrize("buckets", [None, 1000])
def test_text_is_taken_byte_by_byte(tmp_path, buckets):
    """A byte order mark is no part of the first name; accents, emoji, spaces and case tell ids apart."""
    composed, decomposed = "é", unicodedata.normalize("NFD", "é")
    values = [composed, decomposed, "👟", "👟🏽", " a", "a", "A", "日本"]
    path = tmp_path / "t.csv"
    path.write_text("\ufeffitem,y\n" + "".join(f"{value},{i % 2}\n" for i in range(20) for value in values), "utf-8")
    schema = Schema([IdFeature("item", hash_buckets=buckets)], target="y")
    data = prepare(path, schema, split=RandomSplit(0.2, 0.2))
    ids = data.schema.encode({"item": values})["ids"].ravel()
    assert (ids > 0).all() and len({*ids.tolist()}) == len(values)


def test_very_long_texts_are_ids_like_others(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("item,y\n" + "x" * 3_000_000 + ",1\n")
    assert read_table(path).sql("SELECT len(item) FROM rows") == [(3_000_000,)]
    texts = ["x" * 100_000 + "a", "x" * 100_000 + "b"]
    path.write_text("item,y\n" + "".join(f"{text},{i % 2}\n" for i in range(5) for text in texts))
    for feature in (IdFeature("item"), IdFeature("item", hash_buckets=10**6)):
        data = prepare(path, Schema([feature], target="y"), split=RandomSplit(0.3, 0.3, seed=1))
        first, second = data.schema.encode({"item": texts})["ids"].ravel()
        assert first != second and min(first, second) > 0


def days(form):
    return pd.DataFrame(
        {
            "day": [f"{form}".format(y=2023 + i // 40, m=i % 12 + 1, d=i % 28 + 1) for i in range(120)],
            "item": ["a", "b"] * 60,
            "y": [0, 0, 1, 1] * 30,
        }
    )


def test_iso_dates_as_text_split_in_time():
    schema = Schema([IdFeature("item")], target="y")
    data = prepare(
        days("{y}-{m:02}-{d:02}"), schema, split=TimeSplit("day", validation="2024-01-01", test="2025-01-01")
    )
    assert [part.num_rows for part in (data.train, data.validation, data.test)] == [40, 40, 40]


@pytest.mark.parametrize("form", ["{d:02}.{m:02}.{y}", "{m}/{d}/{y}", "{d:02}-{m:02}-{y}"])
def test_dates_that_do_not_sort_in_time_are_refused(form):
    """As text, 31.01.2025 comes after 01.12.2025: training would see the future."""
    schema = Schema([IdFeature("item")], target="y")
    for limits in (
        {"validation": "2024-01-01", "test": "2025-01-01"},
        {"validation": "01.01.2024", "test": "02.01.2025"},
    ):
        with pytest.raises((SchemaError, DataError), match="sorts in time"):
            prepare(days(form), schema, split=TimeSplit("day", **limits))
