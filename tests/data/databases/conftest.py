"""A SQLite file of exposures, a cache of its own for every test, and a way to break reads half-way."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest

from tfshop.data.databases import statements

NUM_ROWS = 1000
QUERY = "SELECT * FROM exposures"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Where reads go that name no folder."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("TFSHOP_CACHE", str(folder))
    return folder


@pytest.fixture
def shop(tmp_path) -> str:
    """Address of a SQLite file: 1,000 exposures, ids 3, 6, 9 … in a shuffled order on disk."""
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE exposures (id INTEGER PRIMARY KEY, sku TEXT UNIQUE, item TEXT, bought INTEGER)"
        )
        rows = [(3 * n, f"sku {n:05d}", f"item {n % 13}", n % 2) for n in range(1, NUM_ROWS + 1)]
        connection.executemany("INSERT INTO exposures VALUES (?, ?, ?, ?)", rows[::-1])
    connection.close()
    return f"sqlite:///{path}"


@pytest.fixture
def after_rows(monkeypatch) -> Callable[[int, Callable[[], object]], None]:
    """`after_rows(n, act)` acts once, when n rows have come from the database, whether or not they are kept yet."""

    def arrange(num_rows: int, act: Callable[[], object]) -> None:
        seen = [0]

        def counted(names, rows, dates):
            before, seen[0] = seen[0], seen[0] + len(rows)
            if before < num_rows <= seen[0]:
                act()
            return original(names, rows, dates)

        original = statements.to_arrays
        monkeypatch.setattr(statements, "to_arrays", counted)

    return arrange
