"""Three rules that say which rows are for training, which for validation and which for the test."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from tfshop.data.columns import kind_of, quote, text_literal
from tfshop.errors import DataError, SchemaError

PARTS = ("train", "validation", "test")
ROW = "row_number_in_table"

_DAY_FIRST = r"^\s*\d{1,2}[-./]\d{1,2}[-./]\d{2,4}"

Moment = int | float | str | datetime.date | datetime.datetime


@runtime_checkable
class SplitRule(Protocol):
    """What `prepare` needs of a rule."""

    @property
    def column(self) -> str | None:
        """The column it looks at, None for the row number."""

    def part_sql(self, columns: Mapping[str, str]) -> str:
        """Return SQL that gives 0 (train), 1 (validation), 2 (test), or NULL where the column is missing."""


@dataclass(frozen=True)
class TimeSplit:
    """Train on the past, validate and test on the future: the honest split where the data has time.

    Train: value < validation. Validation: validation <= value < test. Test: test <= value.

    Args:
        column: A column of numbers, dates, or text that sorts in time: ISO dates (2024-12-31), not 31.12.2024.
        validation: Where validation begins.
        test: Where the test begins.

    Raises:
        DataError: Unless validation < test.

    Example:
        >>> TimeSplit("week", validation=43, test=45).part_sql({"week": "BIGINT"})
        'CASE WHEN "week" < 43 THEN 0 WHEN "week" < 45 THEN 1 WHEN "week" >= 45 THEN 2 END'
    """

    column: str
    validation: Moment
    test: Moment

    def __post_init__(self) -> None:
        """Check the limits."""
        try:
            ordered = self.validation < self.test  # type: ignore[operator]
        except TypeError:
            ordered = False
        if not ordered:
            raise DataError(
                f"TimeSplit has validation={self.validation!r} and test={self.test!r}. Expected two values of one "
                "type, validation before test. Fix: swap or correct them."
            )

    def part_sql(self, columns: Mapping[str, str]) -> str:
        """Return SQL that gives the part of a row."""
        kind = kind_of(columns[self.column])
        value = quote(self.column)
        limits = (self.validation, self.test)
        validation, test = (self._literal(moment, kind, columns[self.column]) for moment in limits)
        # Text such as '31.12.2024' does not sort in time: its rows have no part, which `prepare` refuses.
        unsorted = f"WHEN regexp_matches({value}, '{_DAY_FIRST}') THEN NULL " if kind == "text" else ""
        before = f"WHEN {value} < {validation} THEN 0 WHEN {value} < {test} THEN 1"
        return f"CASE {unsorted}{before} WHEN {value} >= {test} THEN 2 END"

    def _literal(self, moment: Moment, kind: str, column_type: str) -> str:
        is_number = isinstance(moment, (int, float)) and not isinstance(moment, bool)
        if is_number and kind in {"integer", "float", "decimal"}:
            return repr(moment)
        if kind == "text" and re.match(_DAY_FIRST, str(moment)):
            raise SchemaError(
                f"TimeSplit compares column {self.column!r}, which is text, with {moment!r}. Expected text that sorts "
                "in time, as 2024-12-31. Fix: turn the column into dates, as pandas.to_datetime(..., dayfirst=True) "
                "does, and write the limits as dates."
            )
        if isinstance(moment, (str, datetime.date)) and kind in {"date", "text"}:
            text = text_literal(str(moment))
            return f"CAST({text} AS {column_type})" if kind == "date" else text
        raise SchemaError(
            f"TimeSplit compares column {self.column!r} of type {column_type} with {moment!r}. Expected a number for a "
            "number, a date or ISO text for a date. Fix: write the limits in the column's type."
        )


@dataclass(frozen=True)
class GroupSplit:
    """Keep all rows of a group (a user) in one part, so that the test meets groups never seen.

    The part is a hash of the seed and the group: the same in every run, and unchanged when rows are added.

    Args:
        column: The column that says whose row it is.
        validation: Fraction of groups for validation, expected, not exact.
        test: Fraction of groups for the test.
        seed: Another seed, another assignment.

    Raises:
        DataError: For fractions that leave nothing for one of the parts.

    Example:
        >>> GroupSplit("user_id", validation=0.1, test=0.2).test
        0.2
    """

    column: str
    validation: float = 0.1
    test: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the limits."""
        if not isinstance(self.column, str) or not self.column:
            raise DataError(
                f"GroupSplit has column={self.column!r}. Expected the name of a column. Fix: GroupSplit('user_id')."
            )
        _require_fractions("GroupSplit", self.validation, self.test)

    def part_sql(self, columns: Mapping[str, str]) -> str:
        """Return SQL that gives the part of a row."""
        return _hashed_part(f"CAST({quote(self.column)} AS VARCHAR)", self.validation, self.test, self.seed)


@dataclass(frozen=True)
class RandomSplit:
    """Draw the part of every row by itself, with a seed.

    Rows of one user land in all parts and the future is trained on: prefer `TimeSplit` or `GroupSplit` where they fit.

    Args:
        validation: Fraction of rows for validation, expected, not exact.
        test: Fraction of rows for the test.
        seed: Another seed, another assignment.

    Raises:
        DataError: For fractions that leave nothing for one of the parts.

    Example:
        >>> RandomSplit(seed=7).column is None
        True
    """

    validation: float = 0.1
    test: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the limits."""
        _require_fractions("RandomSplit", self.validation, self.test)

    @property
    def column(self) -> None:
        """None: it looks at the row number alone."""
        return

    def part_sql(self, columns: Mapping[str, str]) -> str:
        """Return SQL that gives the part of a row."""
        return _hashed_part(f"CAST({ROW} AS VARCHAR)", self.validation, self.test, self.seed)


def _require_fractions(rule: str, validation: float, test: float) -> None:
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (validation, test))
    if not (numbers and validation > 0 and test > 0 and validation + test < 1):
        raise DataError(
            f"{rule} has validation={validation!r} and test={test!r}. Expected positive fractions that leave rows for "
            "training. Fix: e.g. validation=0.1, test=0.1."
        )


def _hashed_part(text: str, validation: float, test: float, seed: int) -> str:
    """MD5 rather than DuckDB's own hash, which may change between versions."""
    uniform = f"md5_number_lower({text_literal(f'{seed}:')} || {text}) / 18446744073709551616.0"
    validated = f"WHEN {uniform} < {test + validation} THEN 1"
    return f"CASE WHEN {uniform} < {test} THEN 2 {validated} WHEN {text} IS NOT NULL THEN 0 END"
