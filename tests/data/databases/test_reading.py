from __future__ import annotations

import gc
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from data.databases.conftest import NUM_ROWS, QUERY
from tfshop.data import read_table
from tfshop.data.databases import statements
from tfshop.errors import DataError

SUMMARY = "SELECT count(*), count(DISTINCT id), sum(id) FROM rows"
WHOLE = [(NUM_ROWS, NUM_ROWS, 3 * NUM_ROWS * (NUM_ROWS + 1) // 2)]


def lost() -> None:
    raise OperationalError(None, None, sqlite3.OperationalError("connection lost"))


@pytest.mark.parametrize("chunk_rows", [99, 100, 1000, 100_000])
@pytest.mark.parametrize("key", [None, "id", "sku"])
def test_every_row_comes_once_whatever_the_chunk(shop, key, chunk_rows):
    table = read_table(shop, query=QUERY, resume_key=key, chunk_rows=chunk_rows)
    assert table.sql(SUMMARY) == WHOLE
    assert dict(table.columns) == {"id": "BIGINT", "sku": "VARCHAR", "item": "VARCHAR", "bought": "BIGINT"}


def test_rows_with_a_key_come_in_its_order(shop):
    table = read_table(shop, query=f"{QUERY} ORDER BY item -- a comment at the end", resume_key="id", chunk_rows=90)
    ids = [row[0] for row in table.sql("SELECT id FROM rows")]
    assert ids == sorted(ids) and len(ids) == NUM_ROWS


def test_parameters_are_bound_not_pasted(shop):
    query = f"{QUERY} WHERE item = :item AND bought IN :outcomes AND sku NOT LIKE '%:x';"
    values = {"item": "item 3' OR 1=1 --", "outcomes": [0, 1]}
    with pytest.raises(DataError, match="no rows"):
        read_table(shop, query=query.replace(":x", "x"), parameters=values)
    values["item"] = "item 3"
    table = read_table(shop, query=query.replace(":x", "x"), parameters=values, resume_key="id", chunk_rows=10)
    assert table.sql("SELECT count(*), min(item), max(item) FROM rows") == [(77, "item 3", "item 3")]


def test_a_lost_connection_without_a_key_starts_over_and_says_so(shop, after_rows, tmp_path):
    after_rows(500, lost)
    arguments = {"query": QUERY, "chunk_rows": 100, "cache": tmp_path / "rows"}
    with pytest.raises(
        DataError, match=r"broke off after 400 rows.*connection lost.*from the start.*resume_key"
    ) as error:
        read_table(shop, **arguments)
    assert error.value.__cause__ is None and error.value.__suppress_context__
    assert not list((tmp_path / "rows").glob("*.parquet"))
    assert read_table(shop, **arguments).sql(SUMMARY) == WHOLE


@pytest.mark.parametrize("key", ["id", "sku"])
def test_a_lost_connection_with_a_key_is_resumed_where_it_stopped(shop, after_rows, key):
    after_rows(550, lost)
    with pytest.raises(DataError, match=rf"broke off after 500 rows, up to {key} = .*loses and repeats nothing"):
        read_table(shop, query=QUERY, resume_key=key, chunk_rows=100)
    asked = []
    after_rows(1, lambda: asked.append("first fetch"))
    table = read_table(shop, query=QUERY, resume_key=key, chunk_rows=150)
    assert table.sql(SUMMARY) == WHOLE
    assert len(table.files) == 5 + 4 and asked


def test_what_was_kept_is_not_read_again(shop, after_rows):
    after_rows(550, lost)
    with pytest.raises(DataError, match="broke off"):
        read_table(shop, query=QUERY, resume_key="id", chunk_rows=100)
    after_rows(501, lost)  # only 500 rows are left to read
    assert read_table(shop, query=QUERY, resume_key="id", chunk_rows=100).sql(SUMMARY) == WHOLE


def test_rows_written_after_the_start_are_not_read_not_even_by_a_resume(shop, after_rows):
    """The largest key at the start is the end of the read."""
    after_rows(550, lost)
    with pytest.raises(DataError, match="broke off"):
        read_table(shop, query=QUERY, resume_key="id", chunk_rows=100)
    with sqlite3.connect(shop.removeprefix("sqlite:///")) as connection:
        connection.execute("INSERT INTO exposures VALUES (999999, 'sku new', 'item new', 1)")
    connection.close()
    assert read_table(shop, query=QUERY, resume_key="id", chunk_rows=100).sql(SUMMARY) == WHOLE
    assert read_table(shop, query=QUERY, resume_key="id").num_rows == NUM_ROWS + 1


def test_a_killed_process_leaves_what_a_resume_goes_on_from(shop, cache):
    code = (
        "import os, signal, sys\nfrom tfshop.data import read_table\nfrom tfshop.data.databases import spill\n"
        "write = spill._write\n"
        "def killed(path, part):\n"
        "    if path.name == 'part-000003.parquet':\n"
        "        path.with_name(path.name + '.new').write_bytes(b'half')\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    write(path, part)\n"
        "spill._write = killed\n"
        f"read_table(sys.argv[1], query={QUERY!r}, resume_key='id', chunk_rows=100)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, shop], check=False, env={**os.environ, "PYTHONPATH": os.getcwd()}
    )
    assert killed.returncode == -signal.SIGKILL
    (folder,) = (cache / "databases").iterdir()
    assert json.loads((folder / "rows.json").read_text())["last"] == ["int", "900"]
    assert read_table(shop, query=QUERY, resume_key="id", chunk_rows=100).sql(SUMMARY) == WHOLE


def test_without_a_folder_rows_are_read_anew_and_removed_with_the_table(shop, cache):
    table = read_table(shop, query=QUERY)
    with sqlite3.connect(shop.removeprefix("sqlite:///")) as connection:
        connection.execute("DELETE FROM exposures WHERE id > 300")
    connection.close()
    again = read_table(shop, query=QUERY).renamed("again")
    assert (table.num_rows, again.num_rows) == (NUM_ROWS, 100)
    gc.collect()
    assert again.sql("SELECT count(*) FROM rows") == [(100,)]
    del table, again
    gc.collect()
    assert list((cache / "databases").iterdir()) == []


def test_a_folder_keeps_the_rows_until_it_is_removed(shop, tmp_path):
    kept = read_table(shop, query=QUERY, cache=tmp_path / "rows")
    with sqlite3.connect(shop.removeprefix("sqlite:///")) as connection:
        connection.execute("DELETE FROM exposures")
    connection.close()
    again = read_table(shop, query=QUERY, cache=tmp_path / "rows", chunk_rows=5)
    assert again.sql(SUMMARY) == WHOLE and again.fingerprint == kept.fingerprint
    with pytest.raises(DataError, match="rows of another address, query"):
        read_table(shop, query=f"{QUERY} WHERE bought = 1", cache=tmp_path / "rows")
    assert again.sql(SUMMARY) == WHOLE


def test_two_reads_of_the_same_rows_at_once_do_not_mix(shop, tmp_path, after_rows):
    """The second waits for the first and takes its rows."""
    found = []
    other = threading.Thread(
        target=lambda: found.append(read_table(shop, query=QUERY, cache=tmp_path / "rows").sql(SUMMARY))
    )
    after_rows(300, other.start)
    found.append(read_table(shop, query=QUERY, cache=tmp_path / "rows", chunk_rows=100).sql(SUMMARY))
    other.join()
    assert found == [WHOLE, WHOLE]


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("item", "is not unique"),
        ("bought", "is not unique"),
        ("nothing", "no column of the query"),
        ("sometimes", "is NULL in some rows"),
        ("fraction", "holds float values"),
    ],
)
def test_a_key_that_could_lose_rows_is_refused(shop, key, found):
    query = "SELECT *, nullif(id, 30) AS sometimes, id / 7.0 AS fraction FROM exposures"
    with pytest.raises(DataError, match=found) as raised:
        read_table(shop, query=query, resume_key=key, chunk_rows=100)
    assert "Fix:" in str(raised.value)


def test_a_key_that_repeats_only_where_two_chunks_meet_is_refused(shop):
    """Rows 100 and 101 share a key, and a chunk ends between them."""
    query = "SELECT CASE WHEN id = 303 THEN 300 ELSE id END AS id, item FROM exposures"
    with pytest.raises(DataError, match="is not unique"):
        read_table(shop, query=query, resume_key="id", chunk_rows=100)


def test_keys_equal_but_for_case_are_refused_where_the_database_cannot_tell_them(tmp_path):
    path = tmp_path / "case.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (k TEXT COLLATE NOCASE)")
        connection.executemany("INSERT INTO t VALUES (?)", [("a",), ("b",), ("B",), ("c",)])
    connection.close()
    with pytest.raises(DataError, match="is not unique"):
        read_table(f"sqlite:///{path}", query="SELECT k FROM t", resume_key="k", chunk_rows=2)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({}, "Expected a SELECT"),
        ({"query": " "}, "Expected a SELECT"),
        ({"query": "SELECT * FROM no_table"}, "no such table"),
        ({"query": "DELETE FROM exposures"}, "readonly"),
        ({"query": f"{QUERY} WHERE item = :item"}, r"parameters \['item'\].*given for \[\]"),
        ({"query": QUERY, "parameters": {"day": 3}}, r"parameters \[\].*given for \['day'\]"),
        ({"query": f"{QUERY} WHERE id < 0"}, "no rows"),
        ({"query": f"{QUERY} WHERE id < 0", "resume_key": "id"}, "no rows"),
        ({"query": "SELECT id, item AS ID FROM exposures"}, "one name but for case"),
        ({"query": QUERY, "chunk_rows": 0}, "chunk_rows is 0"),
        ({"query": QUERY, "types": {"id": "VARCHAR"}}, "casts in the query"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_fix(shop, cache, arguments, found):
    with pytest.raises(DataError, match=found) as raised:
        read_table(shop, **arguments)
    assert "Fix:" in str(raised.value)
    assert (
        sqlite3.connect(shop.removeprefix("sqlite:///")).execute("SELECT count(*) FROM exposures").fetchone()[0] == 1000
    )


def test_options_of_databases_are_refused_for_files(tmp_path):
    (tmp_path / "t.csv").write_text("item\na\n")
    with pytest.raises(DataError, match="are for databases"):
        read_table(tmp_path / "t.csv", query=QUERY)


def test_a_column_that_changes_its_kind_between_parts_gets_one_type(tmp_path):
    path = tmp_path / "types.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, late, price, mixed)")
        connection.executemany(
            "INSERT INTO t VALUES (?, ?, ?, ?)", [(1, None, 1, 5), (2, None, 2, 6), (3, "x", 2.5, "N/A")]
        )
    connection.close()
    query = "SELECT id, late, price FROM t"
    table = read_table(f"sqlite:///{path}", query=query, resume_key="id", chunk_rows=1)
    assert table.sql("SELECT * FROM rows") == [(1, None, 1.0), (2, None, 2.0), (3, "x", 2.5)]
    for chunk_rows in (1, 100):
        with pytest.raises(DataError, match=r"'mixed'.*cast it in the query|'mixed'.*Fix: cast"):
            read_table(f"sqlite:///{path}", query="SELECT id, mixed FROM t", chunk_rows=chunk_rows)


def test_no_more_than_a_part_is_held(shop, monkeypatch):
    """Each fetch is turned into Arrow at once, and each part written before the next is read."""
    sizes = []
    original = statements.to_arrays
    monkeypatch.setattr(
        statements, "to_arrays", lambda names, rows, dates: sizes.append(len(rows)) or original(names, rows, dates)
    )
    monkeypatch.setattr(statements, "_ROWS_A_FETCH", 30)
    table = read_table(shop, query=QUERY, chunk_rows=100)
    assert max(sizes) == 30 and len(table.files) == 10 and Path(table.files[0]).stat().st_size < 20_000
