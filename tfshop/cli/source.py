"""Where a command's rows are: a file, or a database with a query."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tfshop.data import read_table
from tfshop.data.table import Table


@dataclass(frozen=True)
class Source:
    """Options of a command, as they were given; shown without the address, which may hold a password."""

    table: str = field(repr=False)
    query: str | None = None
    parameters: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    resume_key: str | None = None
    cache: Path | None = None
    missing: tuple[str, ...] = ()

    def read(self) -> Table:
        """Read the table they mean."""
        return read_table(
            self.table,
            missing=self.missing,
            query=self.query,
            parameters=dict(self.parameters),
            resume_key=self.resume_key,
            cache=self.cache,
        )
