"""Everything about a table that can be refused before anything is learned from it."""

# ruff: noqa: S608  (names and texts in the SQL are quoted, by `quote` and `text_literal`)
from __future__ import annotations

from collections.abc import Iterable

from tfshop.data.columns import kind_of, number_sql, quote, require_type
from tfshop.data.features import Feature, NumericFeature
from tfshop.data.schema import Schema
from tfshop.data.splits import ROW
from tfshop.data.table import NUMBERED, Table
from tfshop.errors import SchemaError


def require_columns(table: Table, columns: Iterable[tuple[str, str]]) -> None:
    """Raise where a column is not in the table; each comes with its role, for the message."""
    for column, role in columns:
        if column not in table.columns:
            known = ", ".join(repr(name) for name in list(table.columns)[:30])
            raise SchemaError(
                f"{role} {column!r} is not a column of {table.name}. Expected one of {known}. "
                "Fix: correct the name (case matters), or add the column."
            )


def check_features(table: Table, schema: Schema, *, for_training: bool) -> None:
    """Raise where a feature's column is absent, of the wrong type, not numeric as declared, or all missing.

    The last is refused for training only: a row to score may lack anything.
    """
    require_columns(table, ((feature.name, "feature") for feature in schema.features))
    for feature in schema.features:
        require_type(feature, table.columns[feature.name], _Example(table, feature.name))
    measures = [measure for feature in schema.features for measure in _measures(table, feature)]
    found = table.sql(f"SELECT {', '.join(measures)} FROM {NUMBERED}")[0]
    for feature, (present, *bad) in zip(schema.features, zip(*[iter(found)] * 4, strict=True), strict=True):
        _require_numbers(feature, present, *bad)
        if for_training and present == 0:
            raise SchemaError(
                f"column {feature.name!r} is missing in all {table.num_rows:,} rows. Expected at least one value. "
                f"Fix: drop {type(feature).__name__}({feature.name!r}, ...) from the schema."
            )


class _Example:
    """A value of a column, looked up only if a message shows it."""

    def __init__(self, table: Table, column: str) -> None:
        self._table, self._column = table, column

    def __repr__(self) -> str:
        column = quote(self._column)
        found = self._table.sql(f"SELECT {column} FROM rows WHERE {column} IS NOT NULL LIMIT 1")
        return str(found[0][0])[:60] if found else "no value"


def _measures(table: Table, feature: Feature) -> tuple[str, str, str, str]:
    """Return SQL for: values present, values that are not numbers, the first such row, and what stands there."""
    column, column_type = quote(feature.name), table.columns[feature.name]
    if not isinstance(feature, NumericFeature):
        return f"count({column})", "0", "0", "NULL"
    number = number_sql(feature.name, column_type)
    if kind_of(column_type) != "text":
        return f"count({column}) FILTER (NOT isnan({number}))", "0", "0", "NULL"
    bad = f"FILTER ({column} IS NOT NULL AND {number} IS NULL)"
    return f"count({column})", f"count(*) {bad}", f"min({ROW}) {bad}", f"arg_min({column}, {ROW}) {bad}"


def _require_numbers(feature: Feature, present: int, bad: int, row: int, value: object) -> None:
    if bad:
        word = (
            f"read_table(..., missing=[{value!r}]) if it is CSV, " if not any(c.isdigit() for c in str(value)) else ""
        )
        raise SchemaError(
            f"column {feature.name!r} is declared NumericFeature, but {bad:,} of {present:,} values are not numbers "
            f"(first: row {row}, {value!r}). Expected numbers or missing values. "
            f"Fix: {word}clean the column, or declare IdFeature({feature.name!r})."
        )
