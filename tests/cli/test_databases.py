"""Commands on a database: a SQLite file stands for all, tests/data/databases has a real server."""

from __future__ import annotations

import json
import sqlite3

import pytest
from helpers import exit_code

from cli.test_commands import SMALL, planted_table
from tfshop.artifact import Artifact

QUERY = "SELECT id, item, price, bought FROM log WHERE price > :least"


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Address of a SQLite file with a planted log, and the folder it lies in."""
    folder = tmp_path_factory.mktemp("database")
    table = planted_table(4000)
    with sqlite3.connect(folder / "shop.db") as connection:
        connection.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, item TEXT, price REAL, bought INTEGER)")
        connection.executemany("INSERT INTO log (item, price, bought) VALUES (?, ?, ?)", table.values.tolist())
    connection.close()
    return f"sqlite:///{folder / 'shop.db'}", folder


@pytest.mark.usefixtures("one_picture")
def test_compress_and_evaluate_read_a_query(log, capsys, monkeypatch):
    address, folder = log
    monkeypatch.chdir(folder)
    query = ["--query", QUERY, "--parameter", "least=0", "--resume-key", "id", "--cache", str(folder / "rows")]
    assert exit_code(["compress", address, *SMALL, *query, "--exclude", "id", "--out", "int8"]) == 0
    artifact = Artifact.load(folder / "int8")
    assert artifact.evaluation.test.auc > 0.7
    assert "id" not in {feature.name for feature in artifact.schema.features}
    capsys.readouterr()
    assert exit_code(["evaluate", "int8", address, *query, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_rows"] == 4000


def test_wrong_databases_and_parameters_exit_with_2_and_no_password(log, capsys):
    address, folder = log
    secret = ["mysql://clara:hunter2@127.0.0.1:1/shop", "--query", "SELECT 1 AS bought"]
    for arguments in (secret, [address], [address, "--query", QUERY, "--parameter", "least"], secret[:1]):
        assert exit_code(["train", *arguments, *SMALL, "--out", str(folder / "model")]) == 2
        captured = capsys.readouterr()
        assert "hunter2" not in captured.out + captured.err
        assert "Traceback" not in captured.err
    assert not (folder / "model").exists()
