# ruff: noqa: S608
from __future__ import annotations

import gzip
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfshop.data import read_table
from tfshop.data.splits import ROW
from tfshop.data.table import NUMBERED
from tfshop.errors import DataError

ROWS = [("a", 1), ("b", 2)]
ALL = "SELECT * FROM rows"


def test_csv_tsv_gz_parquet_frames_and_arrow_read_alike(tmp_path):
    (tmp_path / "t.csv").write_text("item,n\na,1\nb,2\n")
    (tmp_path / "t.tsv").write_text("item\tn\na\t1\nb\t2\n")
    (tmp_path / "semicolon.csv").write_text("item;n\na;1\nb;2\n")
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"item,n\na,1\nb,2\n"))
    arrow = pa.table({"item": ["a", "b"], "n": [1, 2]})
    pq.write_table(arrow, tmp_path / "t.parquet")
    names = ("t.csv", "t.tsv", "semicolon.csv", "t.csv.gz", "t.parquet")
    for source in (*(tmp_path / name for name in names), arrow, arrow.to_pandas()):
        table = read_table(source)
        assert table.sql(ALL) == ROWS, source
        assert dict(table.columns) == {"item": "VARCHAR", "n": "BIGINT"}, source
        assert table.num_rows == 2


def test_globs_and_lists_are_read_in_order(tmp_path):
    for name, value in (("b", 2), ("a", 1)):
        (tmp_path / f"{name}.csv").write_text(f"item,n\n{name},{value}\n")
    assert read_table(str(tmp_path / "*.csv")).sql(ALL) == ROWS
    assert read_table([tmp_path / "b.csv", tmp_path / "a.csv"]).sql(ALL) == ROWS[::-1]


def test_leading_zeros_of_a_csv_survive(tmp_path):
    """As numbers, '00123' and '123' would be one id."""
    path = tmp_path / "t.csv"
    path.write_text("code,n\n00123,1\n123,2\n")
    assert read_table(path).columns["code"] == "VARCHAR"
    assert read_table(path).columns["n"] == "BIGINT"
    assert read_table(path).sql("SELECT code FROM rows") == [("00123",), ("123",)]


def test_types_force_a_column_and_refuse_unknown_names(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("item,n\na,1\n")
    assert read_table(path, types={"n": "VARCHAR"}).sql(ALL) == [("a", "1")]
    with pytest.raises(DataError, match="names the column 'm'"):
        read_table(path, types={"m": "VARCHAR"})


def test_text_joined_by_bars_is_not_taken_for_columns(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("user,viewed\n1,a|b|c\n2,b|c|d\n")
    assert read_table(path).sql("SELECT viewed FROM rows") == [("a|b|c",), ("b|c|d",)]


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("missing.csv", None, "does not exist"),
        ("t.xlsx", b"x", "ending"),
        ("empty.csv", b"item,n\n", "no rows"),
        ("broken.parquet", b"PAR1 not really", "cannot be read"),
        ("broken.csv.gz", b"not gzip", "cannot be read"),
    ],
)
def test_files_that_cannot_be_read_are_named_with_a_fix(tmp_path, name, content, found):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=found) as raised:
        read_table(tmp_path / name)
    assert name in str(raised.value)
    assert "Fix:" in str(raised.value)


def test_a_folder_and_a_glob_without_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="is a folder"):
        read_table(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        read_table(str(tmp_path / "*.parquet"))


def test_frames_without_rows_mixed_columns_and_other_objects_are_refused():
    with pytest.raises(DataError, match="no rows"):
        read_table(pd.DataFrame({"item": pd.Series([], dtype=str)}))
    with pytest.raises(DataError, match=r"'item'|column item"):
        read_table(pd.DataFrame({"item": pd.Series(["a", 1.5], dtype=object)}))
    with pytest.raises(DataError, match="of type int"):
        read_table(3)


def test_a_value_that_breaks_the_guessed_type_is_a_clear_error(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("item,n\na,1\nb,x\n")
    table = read_table(path, types={"n": "BIGINT"})
    with pytest.raises(DataError, match="types="):
        table.sql(ALL)
    with pytest.raises(DataError, match="types="):
        list(table.batches(ALL, 10))


def test_batches_stream_the_answer():
    table = read_table(pa.table({"n": np.arange(100_000)}))
    sizes = [batch.num_rows for batch in table.batches("SELECT n FROM rows WHERE n >= 40000", 10_000)]
    assert sum(sizes) == 60_000
    assert max(sizes) <= 10_000


def test_the_fingerprint_is_of_the_content(tmp_path):
    one, same, other = (pa.table({"n": numbers}) for numbers in ([1, 2], [1, 2], [1, 3]))
    assert read_table(one).fingerprint == read_table(same).fingerprint != read_table(other).fingerprint
    for name in ("a", "b"):
        pq.write_table(one, tmp_path / f"{name}.parquet")
    a, b = (read_table(tmp_path / f"{name}.parquet").fingerprint for name in ("a", "b"))
    assert a == b


def test_the_data_room_does_not_import_tensorflow():
    code = "import sys, tfshop.data, tfshop.data.datasets; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_half_floats_of_a_frame_are_read_as_numbers():
    table = read_table(pd.DataFrame({"price": np.array([1.5, 2.0], np.float16)}))
    assert table.sql("SELECT price FROM rows") == [(1.5,), (2.0,)]


@pytest.mark.parametrize("stored", ["frame", "file"])
def test_columns_can_be_left_out(stored, tmp_path):
    frame = pa.table({"item": ["a", "b"], "bought": [0, 1], "paid": [1.5, 2.5]})
    pq.write_table(frame, tmp_path / "rows.parquet")
    table = read_table(frame if stored == "frame" else tmp_path / "rows.parquet").without("paid")
    assert list(table.columns) == ["item", "bought"]
    assert table.sql("SELECT * FROM rows ORDER BY item") == [("a", 0), ("b", 1)]
    with pytest.raises(DataError, match="has no column 'paid'"):
        table.without("paid")


NUMBERS = f"SELECT {ROW}, n FROM {NUMBERED} ORDER BY {ROW}"


@pytest.fixture
def pieces(tmp_path):
    """Three Parquet files of rows that hold their own numbers, in small row groups."""
    for i, (start, stop) in enumerate(((0, 700), (700, 701), (701, 2000))):
        rows = pa.table({"n": list(range(start, stop))})
        pq.write_table(rows, tmp_path / f"{i}.parquet", row_group_size=100)
    return tmp_path


def test_rows_are_numbered_in_the_order_of_files_and_rows(pieces):
    (pieces / "all.csv").write_text("n\n" + "\n".join(map(str, range(2000))))
    frame = pa.table({"n": list(range(2000))})
    for source in (pieces / "0.parquet", str(pieces / "*.parquet"), pieces / "all.csv", frame):
        table = read_table(source)
        assert table.sql(NUMBERS) == [(n, n) for n in range(table.num_rows)]


def test_columns_named_like_those_of_parquet_do_not_number_the_rows(tmp_path):
    for name in ("file_row_number", "FILE_INDEX"):
        pq.write_table(pa.table({name: [7, 7, 7], "n": [0, 1, 2]}), tmp_path / "odd.parquet")
        table = read_table(tmp_path / "odd.parquet")
        assert table.sql(NUMBERS) == [(0, 0), (1, 1), (2, 2)]
        assert set(table.columns) == {name, "n"}


@pytest.mark.parametrize(("start", "stop"), [(0, 2000), (0, 1), (699, 702), (700, 701), (750, 760), (1999, 2000)])
def test_a_piece_of_a_table_keeps_the_numbers_of_its_rows(pieces, start, stop):
    frame = pa.table({"n": list(range(2000))})
    for source in (str(pieces / "*.parquet"), frame):
        piece = read_table(source).piece(start, stop)
        found = piece.sql(f"SELECT {ROW}, n FROM {NUMBERED} WHERE {ROW} >= {start} AND {ROW} < {stop} ORDER BY 1")
        assert found == [(n, n) for n in range(start, stop)]
        inner = piece.piece(start, start + 1)
        assert (start, start) in inner.sql(NUMBERS)
    assert len(read_table(str(pieces / "*.parquet")).piece(699, 701).files) == 2


def test_a_column_left_out_is_left_out_of_numbered_rows_and_pieces(tmp_path):
    pq.write_table(pa.table({"n": [0, 1, 2], "paid": [5, 6, 7]}), tmp_path / "rows.parquet")
    table = read_table(tmp_path / "rows.parquet").without("paid")
    for some in (table, table.piece(1, 3)):
        assert some.sql(f"SELECT * FROM {NUMBERED} ORDER BY n") == [(0, 0), (1, 1), (2, 2)]
        assert some.sql("SELECT * FROM rows ORDER BY n") == [(0,), (1,), (2,)]


def test_a_column_put_beside_goes_with_its_row(pieces):
    beside = pa.array(np.arange(2000) * 3)
    for source in (str(pieces / "*.parquet"), pa.table({"n": list(range(2000))})):
        table = read_table(source).with_column("tripled", beside)
        assert table.sql(f"SELECT count(*), count(*) FILTER (tripled = 3 * n) FROM {NUMBERED}") == [(2000, 2000)]
        assert "tripled" not in table.columns


def test_settings_reach_duckdb(tmp_path):
    table = read_table(pa.table({"n": [1]})).with_settings({"memory_limit": "1GiB"})
    limit = "SELECT current_setting('memory_limit') FROM rows"
    assert table.sql(limit) == [("1.0 GiB",)]
    assert table.renamed("other").sql(limit) == [("1.0 GiB",)]
