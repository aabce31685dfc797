"""A real MariaDB, started on loopback for these tests alone."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from data.databases.server import ENCODED, PASSWORD, missing_program, running_server
from tfshop.data import RandomSplit, Schema, prepare, read_table
from tfshop.errors import DataError

MISSING = missing_program()
pytestmark = pytest.mark.skipif(
    MISSING is not None, reason=f"{MISSING} is not installed (apt-get install mariadb-server)"
)

NUM_ROWS = 100_000
QUERY = "SELECT id, user_id, item, price, bought FROM exposures"
WIDE = "SELECT id, user_id, item, price, bought, REPEAT('x', 500) AS wide FROM exposures"  # more than sockets hold
SUMMARY = "SELECT count(*), count(DISTINCT id), sum(id), sum(price), sum(bought) FROM rows"
HALF = 55_000


@pytest.fixture(scope="module")
def server():
    """A hundred thousand exposures, ids 3, 6, 9 …, and one row of every awkward type."""
    with running_server() as server:
        server.run(
            "CREATE DATABASE shop",
            "USE shop",
            f"CREATE USER shop@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'",
            "GRANT SELECT, DELETE ON shop.* TO shop@'127.0.0.1'",
            "CREATE TABLE exposures (id BIGINT UNSIGNED PRIMARY KEY, user_id INT, item VARCHAR(40), "
            "price DECIMAL(10,2), bought TINYINT(1)) ENGINE=InnoDB",
            "INSERT INTO exposures SELECT seq * 3, seq MOD 977, CONCAT('item ', seq MOD 131), (seq MOD 10007) / 100, "
            "seq MOD 7 = 0 FROM seq_1_to_100000",
            "CREATE TABLE kinds (id INT PRIMARY KEY, big BIGINT UNSIGNED, price DECIMAL(30,10), day DATE, "
            "moment DATETIME(6), at TIME, picture BLOB, title TEXT CHARACTER SET utf8mb4, "
            "old VARCHAR(20) CHARACTER SET latin1, ratio FLOAT, kind ENUM('a','b'), about JSON, flag BIT(1), "
            "`Select` INT)",
            "SET SESSION sql_mode = ''",
            "INSERT INTO kinds VALUES (1, 18446744073709551615, 12345678901234567890.0123456789, '2024-02-29', "
            "'2024-02-29 12:34:56.789', '01:00:00', x'00ff', '👟 Schuhe, 靴', 'Größe', 0.5, 'b', "
            "'{\"a\": 1}', b'1', 7)",
            "INSERT INTO kinds (id) VALUES (2)",
            "INSERT INTO kinds VALUES (3, 0, -1, '0000-00-00', '0000-00-00 00:00:00', '00:00:01', '', '', '', -1, 'a', "
            "'[]', b'0', 0)",
        )
        yield server


def expected(server):
    (found,) = server.run("SELECT count(*), count(DISTINCT id), sum(id), sum(price), sum(bought) FROM shop.exposures")
    assert found[0] == NUM_ROWS
    return [tuple(found)]


def test_a_killed_connection_is_a_clear_error_and_the_resume_loses_and_repeats_nothing(server, after_rows):
    killed = []
    after_rows(HALF, lambda: killed.append(server.kill_readers()))
    with pytest.raises(DataError, match="broke off") as raised:
        read_table(server.address, query=WIDE, resume_key="id", chunk_rows=10_000)
    assert killed == [1]
    message = str(raised.value)
    assert "after 50,000 rows, up to id = 150000" in message and "Lost connection" in message
    assert "Fix: read again with the same" in message and "shop:" not in message

    read = []
    after_rows(1, lambda: read.append("on"))
    table = read_table(server.address, query=WIDE, resume_key="id", chunk_rows=10_000)
    assert read == ["on"] and len(table.files) == 10
    assert table.sql(SUMMARY) == expected(server)
    wrong = "SELECT count(*) FROM rows WHERE user_id <> (id // 3) % 977 OR item <> 'item ' || ((id // 3) % 131)"
    assert table.sql(wrong) == [(0,)]
    types = ["BIGINT", "BIGINT", "VARCHAR", "DECIMAL(18,2)", "BIGINT", "VARCHAR"]
    assert list(table.columns.values()) == types


def test_a_killed_connection_without_a_key_starts_over(server, after_rows, capfd):
    query = "SELECT id, REPEAT('x', 2000) AS wide FROM exposures WHERE id <= 60000"  # more than sockets hold
    after_rows(2000, server.kill_readers)
    with pytest.raises(DataError, match=r"broke off after 1?\d,000 rows: .*Lost connection.*from the start"):
        read_table(server.address, query=query, chunk_rows=1000)
    found = read_table(server.address, query=query, chunk_rows=1000).sql("SELECT count(*), sum(id) FROM rows")
    assert found == [(20_000, 3 * 20_000 * 20_001 // 2)]
    assert "Traceback" not in capfd.readouterr().err  # of the driver's destructors, which would read on


def test_a_connection_killed_before_the_first_part_is_kept_breaks_off(server, after_rows):
    after_rows(2000, server.kill_readers)
    query = "SELECT id, REPEAT('x', 2000) AS wide FROM exposures WHERE id <= 60000"
    with pytest.raises(DataError, match="broke off after 0 rows"):
        read_table(server.address, query=query, resume_key="id")


def test_rows_written_and_deleted_during_a_read_do_not_change_it(server, after_rows):
    """One transaction, one snapshot."""
    server.run("CREATE TABLE shop.moving SELECT id, bought FROM shop.exposures WHERE id <= 30000")
    server.run("ALTER TABLE shop.moving ADD PRIMARY KEY (id)")
    changes = ("DELETE FROM shop.moving WHERE id > 20000", "INSERT INTO shop.moving VALUES (17500, 1), (40000, 1)")
    after_rows(5000, lambda: server.run(*changes))
    table = read_table(server.address, query="SELECT * FROM moving", resume_key="id", chunk_rows=1000)
    assert table.sql("SELECT count(*), max(id), count(*) FILTER (id % 3 <> 0) FROM rows") == [(10_000, 30_000, 0)]


@pytest.mark.parametrize("key", [None, "id"])
def test_every_type_keeps_its_values(server, key):
    table = read_table(server.address, query="SELECT * FROM kinds ORDER BY id", resume_key=key, chunk_rows=2)
    first, second, third = table.sql("SELECT * FROM rows")
    assert table.columns["big"] == "DECIMAL(38,0)" and table.columns["price"] == "DECIMAL(38,10)"
    assert (table.columns["day"], table.columns["moment"]) == ("DATE", "TIMESTAMP")
    assert first[:5] == (
        1,
        2**64 - 1,
        Decimal("12345678901234567890.0123456789"),
        datetime.date(2024, 2, 29),
        datetime.datetime(2024, 2, 29, 12, 34, 56, 789000),
    )
    assert first[5:] == (3600.0, b"\x00\xff", "👟 Schuhe, 靴", "Größe", 0.5, "b", '{"a": 1}', b"\x01", 7)
    assert second == (2, *[None] * 13)
    assert third[1:5] == (0, Decimal(-1), None, None)  # the zero dates of old tables are no dates
    assert third[6:9] == (b"", "", "")


def test_text_keys_are_paged_in_the_databases_own_order(server):
    """By its collation 'Ä' is 'a': one key, which paging would lose; a binary collation tells them apart."""
    server.run(
        "CREATE TABLE shop.words (word VARCHAR(20) COLLATE utf8mb4_bin PRIMARY KEY)",
        "INSERT INTO shop.words VALUES ('a'), ('A'), ('ä'), ('Z'), ('👟'), ('b')",
    )
    table = read_table(server.address, query="SELECT word FROM words", resume_key="word", chunk_rows=2)
    assert sorted(row[0] for row in table.sql("SELECT word FROM rows")) == ["A", "Z", "a", "b", "ä", "👟"]
    folded = "SELECT CAST(word AS CHAR(20)) COLLATE utf8mb4_general_ci AS word FROM words"
    with pytest.raises(DataError, match="is not unique"):
        read_table(server.address, query=folded, resume_key="word", chunk_rows=1)


def test_a_query_that_writes_is_refused_by_the_session(server):
    with pytest.raises(DataError, match="READ ONLY transaction"):
        read_table(server.address, query="DELETE FROM exposures")
    assert server.run("SELECT count(*) FROM shop.exposures") == [(NUM_ROWS,)]


def test_quoted_names_and_parameters_reach_the_server_as_they_are(server):
    query = "SELECT id, `Select`, title FROM kinds WHERE title = :title OR title LIKE '%%none' OR id IN :ids"
    values = {"title": "👟 Schuhe, 靴", "ids": [3]}
    table = read_table(server.address, query=query, parameters=values, resume_key="Select")
    assert table.sql('SELECT id, "Select" FROM rows') == [(3, 0), (1, 7)]


def test_the_password_is_nowhere_but_in_the_connection(server, cache, tmp_path, monkeypatch, capfd, after_rows):
    """Given in the environment, refused, broken off, kept: no file and no line shows it."""
    bare = server.address.replace(f":{ENCODED}@", "@")
    with pytest.raises(DataError, match="Access denied") as refused:
        read_table(bare, query=QUERY)
    monkeypatch.setenv("TFSHOP_DB_PASSWORD", "wrong-" + PASSWORD)
    with pytest.raises(DataError, match="Access denied") as wrong:
        read_table(bare, query=QUERY)
    monkeypatch.setenv("TFSHOP_DB_PASSWORD", PASSWORD)
    query = f"{QUERY} WHERE id <= :last"
    arguments = {"query": query, "parameters": {"last": 60_000}, "resume_key": "id", "chunk_rows": 2000}
    after_rows(11_000, server.kill_readers)
    with pytest.raises(DataError, match="broke off after 10,000 rows") as broken:
        read_table(bare, **arguments)
    texts = [str(error.value) for error in (refused, wrong, broken)]
    table = read_table(bare, cache=tmp_path / "rows", **arguments)
    schema = Schema.infer(table, target="bought", exclude=["id"])
    data = prepare(table, schema, split=RandomSplit())
    texts += [repr(table), repr(data), data.schema.to_json(), table.fingerprint, *capfd.readouterr()]
    files = [path for folder in (cache, tmp_path / "rows") for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 10
    texts += [Path(path).read_bytes().decode("latin1") for path in files]
    for secret in (PASSWORD, ENCODED, "shop@", "shop:"):
        assert not any(secret in text.replace("'shop'@'127.0.0.1'", "") for text in texts), secret
