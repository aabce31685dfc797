"""A schema proposed from a table: one scan measures every column, then one rule a kind decides."""

# ruff: noqa: S608  (names and texts in the SQL are quoted, by `quote` and `text_literal`)
from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from tfshop.data.checks import require_columns
from tfshop.data.columns import element_of, kind_of, quote
from tfshop.data.features import Feature, IdFeature, NumericFeature, SequenceFeature, VectorFeature
from tfshop.data.schema import Schema
from tfshop.data.table import Table, read_table
from tfshop.errors import SchemaError

FEW_VALUES = 20
HARDLY_REPEATS = 0.9
LONG_TEXT = 24
HEAVY_TAIL = 2.0
MAX_SEQUENCE = 20
_ID_NAME = re.compile(r"(^|_)id(_?\d+)?$|Id$|ID$|[cC]ode$", re.ASCII)


@dataclass(frozen=True)
class _Column:
    """What one scan finds in a column; lengths are of texts or lists."""

    name: str
    type: str
    rows: int
    present: int
    distinct: int
    low: float | None
    high: float | None
    skewness: float | None
    mean_length: float | None
    joined: int

    @property
    def kind(self) -> str:
        return kind_of(self.type)

    @property
    def hardly_repeats(self) -> bool:
        return self.rows >= FEW_VALUES and self.distinct > HARDLY_REPEATS * self.present


def infer_schema(
    table: Table, *, target: str | Sequence[str], group: str | None, time: str | None, exclude: Collection[str]
) -> Schema:
    """Return the proposed schema; see `Schema.infer`."""
    table = read_table(table)
    targets = (target,) if isinstance(target, str) else target
    named = [*((column, "the target") for column in targets), (group, "the group"), (time, "the time")]
    named += [(name, "excluded") for name in exclude]
    require_columns(table, [(column, role) for column, role in named if column is not None])
    roles = {column: f"it is {role}" for column, role in named if column is not None and column != group}
    features: list[Feature] = []
    decisions = []
    for column in _measure(table):
        feature, reason = _decide(column, column.name == group)
        if column.name in roles:
            feature, reason = None, roles[column.name]
        if feature is not None:
            features.append(feature)
        decisions.append(f"{column.name}: {_kind_name(feature)}, because {reason}.")
    if not features:
        raise SchemaError(
            f"no column of {table.name} can be a feature: {' '.join(decisions)} Expected at least one. "
            "Fix: declare the features yourself, Schema([IdFeature(...), ...], target=...)."
        )
    return Schema(_share_tables(features), target=target, group=group, time=time, decisions=decisions)


def _kind_name(feature: Feature | None) -> str:
    return "left out" if feature is None else type(feature).__name__


def _measure(table: Table) -> list[_Column]:
    measures = [measure for name, type_ in table.columns.items() for measure in _measures(quote(name), kind_of(type_))]
    found = iter(table.sql(f"SELECT count(*), {', '.join(measures)} FROM rows")[0])
    rows = int(next(found))
    return [
        _Column(name, type_, rows, *values)
        for (name, type_), values in zip(table.columns.items(), zip(*[found] * 7, strict=True), strict=True)
    ]


def _measures(column: str, kind: str) -> list[str]:
    """Return SQL for: present, distinct, low, high, skewness, mean length, rows joined by '|'."""
    # Exact where a limit decides: an estimate may change with DuckDB's version, and with it the schema.
    distinct = f"approx_count_distinct({column})" if kind == "list" else f"count(DISTINCT {column})"
    measures = [f"count({column})", distinct]
    nothing = "CAST(NULL AS DOUBLE)"
    if kind in {"integer", "float", "decimal"}:
        number = f"CAST({column} AS DOUBLE)"
        finite = f"FILTER (isfinite({number}))"
        measures[0] = f"count({column}) FILTER (NOT isnan({number}))"
        spread = f"CASE WHEN max({number}) {finite} > min({number}) {finite} THEN skewness({number} / 1e6) {finite} END"
        return [*measures, f"min({number}) {finite}", f"max({number}) {finite}", spread, nothing, "0"]
    if kind == "list":
        length = f"len({column})"
        return [*measures, f"min({length})", f"max({length})", nothing, f"avg({length})", "0"]
    if kind == "text":
        length = f"len(CAST({column} AS VARCHAR))"
        joined = f"count(*) FILTER (contains(CAST({column} AS VARCHAR), '|'))"
        return [*measures, f"min({length})", f"max({length})", nothing, f"avg({length})", joined]
    return [*measures, nothing, nothing, nothing, nothing, "0"]


def _decide(column: _Column, is_group: bool) -> tuple[Feature | None, str]:
    """Return the feature a column becomes, or None, and the reason."""
    if column.present == 0:
        return None, "it is missing in every row"
    if column.distinct <= 1 and column.present == column.rows:
        return None, "it has one value only"
    decide = _DECIDE.get(column.kind)
    return decide(column, is_group) if decide else (None, f"tfshop has no feature for the type {column.type}")


def _decide_text(column: _Column, is_group: bool) -> tuple[Feature | None, str]:
    about = f"it is text with {column.distinct:,} values"
    if column.joined > column.present / 2:
        sequence = SequenceFeature(column.name, table=_table_of(column.name), max_length=MAX_SEQUENCE)
        return sequence, "it is text joined by '|' in most rows"
    if column.hardly_repeats and not is_group and (column.mean_length or 0) > LONG_TEXT:
        return None, f"{about} in {column.present:,} rows, long ones that hardly repeat"
    return IdFeature(column.name), about


def _decide_integer(column: _Column, is_group: bool) -> tuple[Feature | None, str]:
    about = f"it is an integer with {column.distinct:,} values"
    if _ID_NAME.search(column.name) or is_group:
        if column.hardly_repeats and not is_group:
            return None, f"its name is that of an id, and it hardly repeats ({column.present:,} rows): it names rows"
        return IdFeature(column.name), f"{about} and {'is the group' if is_group else 'is named like an id'}"
    if column.distinct <= FEW_VALUES:
        return IdFeature(column.name), f"{about}, few enough to give each its own row"
    feature, reason = _decide_number(column, is_group)
    return feature, f"{about}; {reason}"


def _decide_number(column: _Column, is_group: bool) -> tuple[Feature | None, str]:
    if (column.low or 0) >= 0 and (column.skewness or 0) > HEAVY_TAIL:
        reason = f"it is a number, never negative, with a long tail (skewness {column.skewness:.1f}): log1p"
        return NumericFeature(column.name, transform="log1p"), reason
    return NumericFeature(column.name, transform="standard"), "it is a number: standard scaling"


def _decide_list(column: _Column, is_group: bool) -> tuple[Feature | None, str]:
    element = kind_of(element_of(column.type))
    if element in {"text", "integer"}:
        sequence = SequenceFeature(column.name, table=_table_of(column.name), max_length=MAX_SEQUENCE)
        return sequence, f"it holds lists of ids, {column.mean_length:.1f} long on average"
    if element in {"float", "decimal"}:
        if column.low == column.high and column.low:
            return VectorFeature(column.name, width=int(column.low)), f"it holds {int(column.low)} numbers in every row"
        return None, f"it holds lists of numbers of different lengths ({column.low:.0f} to {column.high:.0f})"
    return None, f"tfshop has no feature for the type {column.type}"


def _decide_boolean(column: _Column, is_group: bool) -> tuple[Feature | None, str]:
    return IdFeature(column.name), "it is true or false"


def _decide_date(column: _Column, is_group: bool) -> tuple[Feature | None, str]:
    return None, "it is a date, which a network cannot use as it is: derive numbers or weekdays from it"


_DECIDE: Mapping[str, Callable[[_Column, bool], tuple[Feature | None, str]]] = {
    "text": _decide_text,
    "integer": _decide_integer,
    "float": _decide_number,
    "decimal": _decide_number,
    "boolean": _decide_boolean,
    "list": _decide_list,
    "date": _decide_date,
}


def _table_of(name: str) -> str:
    return name.removeprefix("hist_")


def _share_tables(features: list[Feature]) -> list[Feature]:
    """Let `hist_item` look its ids up in the table of the feature `item`, `item_id` or the like, where there is one."""
    ids = {feature.name for feature in features if isinstance(feature, IdFeature)}
    shared: list[Feature] = []
    for feature in features:
        if isinstance(feature, SequenceFeature):
            stem, singular = feature.table, feature.table.removesuffix("s")
            wanted = (stem, f"{stem}_id", singular, f"{singular}_id")
            found = next((name for name in wanted if name in ids), stem)
            shared.append(SequenceFeature(feature.name, table=found, max_length=feature.max_length))
        else:
            shared.append(feature)
    return shared
