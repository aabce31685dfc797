"""A MariaDB of the test's own: a temporary data directory, a free port on loopback, gone with the test."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SYSTEM = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
PASSWORD = "s3cret/with@signs"  # noqa: S105  (of a server that lives as long as a test)
ENCODED = "s3cret%2Fwith%40signs"


@dataclass(frozen=True)
class Server:
    """Where it listens; the user `shop` has the password above and may only read."""

    port: int

    @property
    def address(self) -> str:
        return f"mysql://shop:{ENCODED}@127.0.0.1:{self.port}/shop"

    def run(self, *statements: str) -> list[tuple[object, ...]]:
        """Answer of the last of some statements, as root, committed."""
        import pymysql

        root = pymysql.connect(host="127.0.0.1", port=self.port, user="root", autocommit=True)
        with root, root.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def kill_readers(self) -> int:
        """Cut every connection of the user `shop`, and say how many there were."""
        found = self.run("SELECT id FROM information_schema.processlist WHERE user = 'shop'")
        self.run(*(f"KILL CONNECTION {row[0]}" for row in found), "SELECT 1")
        return len(found)


def missing_program() -> str | None:
    """What a server needs and this machine has not."""
    return next((name for name in ("mariadb-install-db", "mariadbd") if shutil.which(name, path=SYSTEM) is None), None)


@contextmanager
def running_server() -> Iterator[Server]:
    """A server that answers."""
    folder = Path(tempfile.mkdtemp(prefix="tfshop-db-"))  # short: a socket's path has 107 characters at most
    try:
        with _started(folder) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _started(folder: Path) -> Iterator[Server]:
    data, user, port = f"--datadir={folder / 'data'}", f"--user={getpass.getuser()}", _free_port()
    install = [shutil.which("mariadb-install-db", path=SYSTEM), "--no-defaults", data, user]
    install += ["--auth-root-authentication-method=normal", "--skip-test-db"]
    subprocess.run(install, check=True, capture_output=True, cwd=folder)
    options = [f"--port={port}", "--bind-address=127.0.0.1", f"--socket={folder / 's'}", f"--pid-file={folder / 'p'}"]
    options += ["--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M", "--character-set-server=utf8mb4"]
    command = [shutil.which("mariadbd", path=SYSTEM), "--no-defaults", data, user, *options]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=folder, text=True)
        try:
            assert process.stderr is not None
            for line in process.stderr:
                log.write(line.encode())
                if "ready for connections" in line:
                    break
            else:
                raise RuntimeError(f"MariaDB did not start: {(folder / 'log').read_text()[-2000:]}")
            yield Server(port)
        finally:
            process.terminate()
            process.communicate(timeout=60)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
