"""What is wrong with a CSV file, in words that name the line and the way out."""

from __future__ import annotations

import csv
import gzip
import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO

from tfshop.errors import DataError

LONGEST_LINE = 16_000_000  # bytes; DuckDB's own limit of 2 million is less than some shops' product descriptions
_LINES_LOOKED_AT = 200_000
_OTHER_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


def require_csv(files: Sequence[str], delimiter: str) -> None:
    """Refuse what DuckDB would misread: an empty file, another encoding, names that are one but for case.

    Raises:
        DataError: For either, naming the file.
    """
    for path in files:
        with _opened(path) as file:
            start = file.readline()
        if not start.strip(b"\r\n\xef\xbb\xbf \t"):
            size = "is empty (0 bytes)" if not start else "begins with an empty line"
            raise DataError(f"'{path}' {size}. Expected a header line and rows. Fix: check how it was written.")
        encoding = _OTHER_ENCODINGS.get(start[:2])
        if encoding or b"\x00" in start:
            raise DataError(
                f"'{path}' is not UTF-8 but {encoding or 'binary, or UTF-16'}. Expected text in UTF-8. "
                f"Fix: iconv -f UTF-16 -t UTF-8 '{path}'."
            )
        names = next(csv.reader([start.decode("utf-8-sig", errors="replace")], delimiter=delimiter), [])
        require_distinct_names([name.strip() for name in names], f"'{path}'")


def require_distinct_names(names: Sequence[str], what: str) -> None:
    """Raise where two columns have one name but for case, which SQL cannot tell apart.

    Example:
        >>> require_distinct_names(["Item", "item"], "the table")
        Traceback (most recent call last):
        tfshop.errors.DataError: the table has the columns 'Item' and 'item', ... Fix: rename one of them.
    """
    seen: dict[str, str] = {}
    for name in names:
        first = seen.setdefault(name.lower(), name)
        if first is not name:
            raise DataError(
                f"{what} has the columns {first!r} and {name!r}, which are one name but for case. Expected names that "
                "differ in more than case. Fix: rename one of them."
            )


def explain(message: str, files: Sequence[str], delimiter: str) -> str | None:
    """Return what is wrong with a CSV file and how to mend it, given DuckDB's message; None where that says it all."""
    line = re.search(r"CSV Error on Line: (\d+)", message)
    where = f"in line {int(line[1]):,}" if line else "in a line"
    if found := re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", message):
        return _ragged(where, int(found[2]), int(found[1]), delimiter)
    if found := re.search(r'converting column "(.*?)".*?[Cc]ould not convert string "(.*?)" to \'?(\w+)', message):
        column, value, wanted = found.groups()
        return (
            f"has {value!r} in column {column!r} {where}, which is {wanted} in the rows before. Expected one kind of "
            f"value a column. Fix: read_table(..., missing=[{value!r}]) where it stands for no value, or "
            f"types={{{column!r}: 'VARCHAR'}} where it is an id"
        )
    if "Invalid unicode" in message:
        return (
            f"is not UTF-8: it has other bytes {where}. Expected UTF-8. "
            "Fix: iconv -f LATIN1 -t UTF-8, or whatever it was written in"
        )
    if "Maximum line size" in message:
        return f"has more than {LONGEST_LINE:,} bytes {where}. Expected shorter lines. Fix: check the quotes before it"
    ragged = _first_ragged(files, delimiter) if "sniffing" in message else None
    return None if ragged is None else _ragged(f"in line {ragged[0]:,}", ragged[1], ragged[2], delimiter)


def _ragged(where: str, found: int, expected: int, delimiter: str) -> str:
    return (
        f"has {found} columns {where}. Expected {expected}, as in the header. Fix: correct the line, or put values "
        f"that hold {delimiter!r} or a line break in double quotes"
    )


def _first_ragged(files: Sequence[str], delimiter: str) -> tuple[int, int, int] | None:
    """Return the first line whose number of columns is not the header's: line, found, expected."""
    for path in files:
        with _opened(path) as file:
            text = (line.decode("utf-8-sig", errors="replace") for line in itertools.islice(file, _LINES_LOOKED_AT))
            reader = csv.reader(text, delimiter=delimiter)
            try:
                expected = len(next(reader, []))
                for row in reader:
                    if row and len(row) != expected:
                        return reader.line_num, len(row), expected
            except csv.Error:
                return None
    return None


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    try:
        with Path(path).open("rb") as raw:
            if not path.endswith(".gz"):
                yield raw
                return
            with gzip.open(raw) as unpacked:
                yield unpacked  # type: ignore[misc]
    except (OSError, EOFError) as error:
        raise DataError(f"'{path}' cannot be read: {error}. Expected a readable file. Fix: check the file.") from error


def delimiter_of(path: str) -> str:
    """Return what separates the names of the header line; '|' last, because it also joins sequences."""
    try:
        with Path(path).open("rb") as raw, gzip.open(raw) if path.endswith(".gz") else nullcontext(raw) as file:
            header = file.readline().decode(errors="replace")
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error}. Expected a readable file. Fix: check the file.") from error
    return max(",\t;|", key=lambda mark: min(header.count(mark), 1) if mark == "|" else 2 * header.count(mark))
