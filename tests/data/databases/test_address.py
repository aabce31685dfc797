from __future__ import annotations

import builtins
import traceback

import pytest

from tfshop.data import read_table
from tfshop.data.databases import is_address
from tfshop.data.databases.address import Address
from tfshop.errors import DataError

SECRET = "hunter2/@:x"  # noqa: S105  (of nobody)
ENCODED = "hunter2%2F%40%3Ax"


def test_an_address_is_shown_without_user_password_and_options():
    address = Address.parse(f"mysql://clara:{ENCODED}@db.example:3307/shop?ssl_key=private")
    assert address.shown == "mysql://db.example:3307/shop"
    for text in (repr(address), str(address), address.shown, address.identity):
        assert not any(part in text for part in ("clara", SECRET, ENCODED, "private"))
    assert address.url.password == SECRET


def test_the_password_comes_from_the_environment_unless_the_address_has_one(monkeypatch):
    monkeypatch.setenv("TFSHOP_DB_PASSWORD", "of the environment")
    assert Address.parse("postgresql://clara@db/shop").url.password == "of the environment"  # noqa: S105
    assert Address.parse(f"postgresql://clara:{ENCODED}@db/shop").url.password == SECRET


@pytest.mark.parametrize(
    ("text", "driver"),
    [
        ("mysql://db/shop", "mysql+pymysql"),
        ("mariadb://db/shop", "mariadb+pymysql"),
        ("postgres://db/shop", "postgresql+psycopg"),
        ("postgresql://db/shop", "postgresql+psycopg"),
        ("mysql+mysqldb://db/shop", "mysql+mysqldb"),
    ],
)
def test_a_scheme_names_its_driver(text, driver):
    assert Address.parse(text).url.drivername == driver


def test_the_same_relative_path_elsewhere_is_another_database(tmp_path, monkeypatch):
    found = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "shop.db").touch()
        monkeypatch.chdir(tmp_path / folder)
        found.append(Address.parse("sqlite:///shop.db").identity)
    assert found[0] != found[1]
    assert Address.parse(f"sqlite:///{tmp_path}/two/shop.db").identity == found[1]


def test_the_identity_changes_with_what_is_read_and_not_with_the_password():
    one = Address.parse("mysql://clara:one@db/shop").identity
    assert one == Address.parse("mysql://clara:two@db/shop").identity
    others = ("mysql://eve:one@db/shop", "mysql://clara:one@db2/shop", "mysql://clara:one@db/shop2")
    assert len({one, *(Address.parse(other).identity for other in others)}) == 4


@pytest.mark.parametrize(
    "text",
    [
        f"mysql://clara:{SECRET}@db/shop",
        f"mysq1://clara:{ENCODED}@db/shop",
        f"mysql+nothing://clara:{ENCODED}@db/shop",
        f"mysql://clara:{ENCODED}@127.0.0.1:1/shop",
        f"postgresql://clara:{ENCODED}@127.0.0.1:1/shop",
        f"s3://clara:{ENCODED}@bucket/file.parquet",
    ],
)
def test_no_message_and_no_traceback_shows_the_password(text, monkeypatch, tmp_path):
    monkeypatch.setenv("TFSHOP_CACHE", str(tmp_path))
    with pytest.raises(DataError, match="Fix:") as raised:
        read_table(text, query="SELECT 1 AS one")
    shown = "".join(traceback.format_exception(raised.value))
    assert SECRET not in str(raised.value) and ENCODED not in str(raised.value) and "hunter2" not in str(raised.value)
    assert "hunter2" not in "\n".join(line for line in shown.splitlines() if "read_table(" not in line)


def test_a_drivers_message_is_scrubbed():
    address = Address.parse(f"mysql://clara:{ENCODED}@db/shop?sslpassword=of+the+key")
    assert address.scrub(f"no entry for {SECRET}, {ENCODED}\n and of the key") == "no entry for ***, *** and ***"


def test_a_missing_driver_is_named_with_the_extra(monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.split(".")[0] == "sqlalchemy":
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError, match=r'pip install "\.\[sql\]"'):
        Address.parse("mysql://db/shop")


def test_a_sqlite_file_that_is_not_there_is_not_made(tmp_path):
    for address in (f"sqlite:///{tmp_path / 'no.db'}", "sqlite://"):
        with pytest.raises(DataError, match="does not exist"):
            read_table(address, query="SELECT 1")
    assert list(tmp_path.iterdir()) == []


def test_paths_are_no_addresses():
    assert is_address("mysql://db/shop") and is_address("S3://x")
    assert not any(is_address(source) for source in ("log.csv", "/a/b*.parquet", "C:/log.csv", 3, ["mysql://db"]))
