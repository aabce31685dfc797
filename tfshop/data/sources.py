"""What encoded rows depend on: the content of a table, told cheaply even where it is large."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from tfshop.data.schema import Schema
from tfshop.data.table import Table

_FORMAT = 1  # of the folder and of what encoding means: a higher one is built anew
_READ_WHOLE = 1 << 26
_SAMPLES, _SAMPLE_BYTES = 64, 1 << 16


def request_of(
    table: Table, schema: Schema, part_sql: str, rows_per_shard: int, *, refit: bool = True
) -> dict[str, Any]:
    """Return plain data that changes whenever the encoded rows would.

    Args:
        table: What is encoded.
        schema: Its features, target and group; what was fitted before counts only without `refit`.
        part_sql: What the split says of each row.
        rows_per_shard: Rows of a shard.
        refit: Whether vocabularies and statistics are taken from these rows.
    """
    wanted = schema.replace(vocabularies={}, statistics={}, decisions=()) if refit else schema
    return {
        "format": _FORMAT,
        "source": source_of(table),
        "schema": wanted.to_json(),
        "split": part_sql,
        "rows_per_shard": rows_per_shard,
    }


def source_of(table: Table) -> dict[str, Any]:
    """Return what tells a table from others and from itself after a change.

    A frame in memory is hashed as a whole. Of a file count its path, size, time of change and content: all of it up to
    64 MiB, above that 64 samples of 64 KiB, evenly spread, the first and the last bytes among them.
    """
    columns = dict(table.columns)
    if table.memory is not None:
        return {"columns": columns, "sha256": table.fingerprint}
    # How it is read counts too: which texts of a CSV file are missing values, say.
    return {"columns": columns, "scan": table.scan, "files": [_file(Path(path).absolute()) for path in table.files]}


def _file(path: Path) -> dict[str, Any]:
    found = path.stat()
    return {"path": str(path), "bytes": found.st_size, "modified_ns": found.st_mtime_ns, "sha256": _digest(path)}


def _digest(path: Path) -> str:
    digest, size = hashlib.sha256(), path.stat().st_size
    with path.open("rb") as file:
        if size <= _READ_WHOLE:
            while block := file.read(1 << 20):
                digest.update(block)
            return digest.hexdigest()
        for sample in range(_SAMPLES):
            file.seek(sample * (size - _SAMPLE_BYTES) // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()
