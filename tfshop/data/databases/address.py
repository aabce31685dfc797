"""Where a database is, and how to say so without saying who one is there."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from tfshop.errors import DataError

if TYPE_CHECKING:
    from sqlalchemy import Engine

PASSWORD_VARIABLE = "TFSHOP_DB_PASSWORD"  # noqa: S105  (the name of a variable, not a password)
_DRIVERS = {
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "sqlite": "sqlite",
}
_SNAPSHOT = "REPEATABLE READ"
# A query that writes by mistake, or by what was pasted into it, fails instead.
_READ_ONLY = {
    "mysql": "SET SESSION TRANSACTION READ ONLY",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
    "postgresql": "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "sqlite": "PRAGMA query_only = ON",
}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def is_address(source: object) -> bool:
    """Return whether a source is text such as `mysql://host/shop`, whatever the scheme."""
    return isinstance(source, str) and _SCHEME.match(source) is not None


@dataclass(frozen=True)
class Address:
    """Where a database is. Shown without user, password and options.

    Args:
        url: SQLAlchemy's URL, driver and password filled in.
    """

    url: Any = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Address:
        """Return the address of a URL; the password comes from TFSHOP_DB_PASSWORD where the URL has none.

        Raises:
            DataError: For another scheme, an address that cannot be read, or a SQLite file that is not there.
        """
        scheme = text.partition("://")[0]
        dialect, _, driver = scheme.lower().partition("+")
        if dialect not in _DRIVERS:
            raise DataError(
                f"the source is an address of the kind {scheme}://. Expected mysql://, mariadb://, postgresql:// or "
                "sqlite:///, or the path of a file. Fix: correct the scheme, or download the file first."
            )
        alchemy = _alchemy()
        try:
            url = alchemy.make_url(text).set(drivername=scheme if driver else _DRIVERS[dialect])
        except (alchemy.exc.ArgumentError, ValueError):
            raise DataError(
                f"the {dialect} address cannot be read (it is not shown, for it may hold a password). Expected "
                f"{dialect}://user:password@host:port/database. Fix: write special characters of the password as "
                f"%40 and the like (urllib.parse.quote), or leave it to the environment's {PASSWORD_VARIABLE}."
            ) from None
        if dialect == "sqlite":
            _require_file(url.database)
        elif url.password is None and os.environ.get(PASSWORD_VARIABLE):
            url = url.set(password=os.environ[PASSWORD_VARIABLE])
        return cls(url)

    @property
    def dialect(self) -> str:
        """Return "mysql", "mariadb", "postgresql" or "sqlite"."""
        return str(self.url.get_backend_name())

    @property
    def shown(self) -> str:
        """The address for messages: kind, host, port and database alone."""
        host = (self.url.host or "") + (f":{self.url.port}" if self.url.port else "")
        return f"{self.dialect}://{host}/{self.url.database or ''}"

    @property
    def identity(self) -> str:
        """SHA-256 of all that decides what is read, the password and the options apart."""
        database = self.url.database
        if self.dialect == "sqlite" and database:
            database = str(Path(database).absolute())  # the same name elsewhere is another file
        parts = [self.dialect, self.url.username, self.url.host, self.url.port, database]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def scrub(self, text: str) -> str:
        """Return a driver's message without the password, should it be in there."""
        secrets = [value for value in (self.url.password, *self._options()) if value]
        for secret in sorted({form for value in secrets for form in _forms(str(value))}, key=len, reverse=True):
            text = text.replace(secret, "***")
        return " ".join(text.split())[:300]

    def engine(self) -> Engine:
        """Return an engine whose sessions only read, each in one snapshot where the database has them.

        Raises:
            DataError: Where the driver is not installed.
        """
        alchemy = _alchemy()
        snapshot = {} if self.dialect == "sqlite" else {"isolation_level": _SNAPSHOT}
        try:
            engine = alchemy.create_engine(self.url, hide_parameters=True, poolclass=alchemy.NullPool, **snapshot)
        except (ImportError, alchemy.exc.ArgumentError) as error:
            raise DataError(
                f"the driver for {self.shown} cannot be had: {self.scrub(str(error))}. Expected one that SQLAlchemy "
                'knows. Fix: pip install ".[sql]" in the folder of tfshop.'
            ) from None
        alchemy.event.listen(engine, "connect", self._make_read_only)
        alchemy.event.listen(engine, "handle_error", _let_go)
        return engine  # type: ignore[no-any-return]

    def _make_read_only(self, connection: Any, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute(_READ_ONLY[self.dialect])
        cursor.close()
        connection.commit()

    def _options(self) -> list[str]:
        """Values of options that may be secrets: sslpassword, passfile and what else drivers know."""
        return [value for name, value in self.url.query.items() if "pass" in name.lower() and isinstance(value, str)]


def _let_go(context: Any) -> None:
    """Keep PyMySQL from reading on from a connection that is gone: its destructors would, and print tracebacks."""
    if not context.is_disconnect or context.connection is None:
        return
    unread: Any = getattr(context.connection.connection.driver_connection, "_result", None)
    if hasattr(unread, "unbuffered_active"):
        unread.unbuffered_active = False


def _forms(secret: str) -> set[str]:
    return {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}


def _require_file(path: str | None) -> None:
    if not path or not Path(path).is_file():
        raise DataError(
            f"the SQLite file {path or ':memory:'} does not exist. Expected an existing file. "
            "Fix: sqlite:///relative/path.db, or sqlite:////absolute/path.db."
        )


def _alchemy() -> Any:
    """Return SQLAlchemy, which only readers of databases need."""
    try:
        import sqlalchemy  # noqa: PLC0415
    except ImportError:
        raise DataError(
            "reading a database needs SQLAlchemy, which is not installed. Expected the extra 'sql'. "
            'Fix: pip install ".[sql]" in the folder of tfshop.'
        ) from None
    return sqlalchemy
