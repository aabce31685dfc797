"""A schema proposed from a table: one scan measures every column, then one rule a kind decides."""

# ruff: noqa: S608  (names and texts in the SQL are quoted, by `quote` and `text_literal`)
from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from tfshop.data.checks import require_columns
from tfshop.data.columns import element_of, kind_of, quote, text_literal
from tfshop.data.features import Feature, IdFeature, NumericFeature, SequenceFeature, VectorFeature
from tfshop.data.opening import read_table
from tfshop.data.schema import Schema
from tfshop.data.table import Table
from tfshop.errors import SchemaError

FEW_VALUES = 20
HARDLY_REPEATS = 0.9
LONG_TEXT = 24
HEAVY_TAIL = 2.0
MAX_SEQUENCE = 20
MANY_CODES = 1000
DENSE = 0.95
REPEATS = 5
MOSTLY = 0.9
_ID_NAME = re.compile(r"(^|_)id(_?\d+)?$|Id$|ID$|[cC]ode$", re.ASCII)
# What a column of integers is called that names somebody or something; the last word of its name decides.
_NAMES_THINGS = re.compile(
    "user|customer|client|visitor|member|shopper|buyer|household|account|person|device|session|cookie|"
    "item|product|article|sku|asin|ean|gtin|isbn|upc|variant|offer|listing|brand|category|department|supplier|vendor|"
    "seller|merchant|manufacturer|shop|store|market|warehouse|region|country|city|zip|zipcode|postcode|"
    "ad|advertiser|campaign|creative|placement|banner|publisher|site|page|channel|coupon|promotion|query|keyword|"
    "author|artist|genre|movie|song|track|video",
    re.IGNORECASE,
)
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", re.ASCII)
_DATE_TEXT = r"^\s*\d{1,4}[-./]\d{1,2}[-./]\d{1,4}([ T].*)?$"


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
    dated: int
    numbers: int
    odd: str | None

    @property
    def kind(self) -> str:
        return kind_of(self.type)

    @property
    def hardly_repeats(self) -> bool:
        return self.rows >= FEW_VALUES and self.distinct > HARDLY_REPEATS * self.present

    @property
    def names_things(self) -> bool:
        """Whether its name is that of an id, or of somebody or something."""
        words = _WORDS.findall(self.name)
        return bool(_ID_NAME.search(self.name)) or (bool(words) and _NAMES_THINGS.fullmatch(words[-1]) is not None)

    @property
    def is_dense(self) -> bool:
        """Whether it counts through from 0 or 1 without gaps, each value often: how ids look that were numbered."""
        span = (self.high or 0) - (self.low or 0) + 1
        repeats = self.present >= REPEATS * self.distinct
        return self.low in {0, 1} and self.distinct > MANY_CODES and repeats and self.distinct >= DENSE * span


@dataclass(frozen=True)
class Wishes:
    """What is known about columns before they are looked at; see `Schema.infer`."""

    target: str | Sequence[str]
    group: str | None = None
    time: str | None = None
    exclude: Collection[str] = ()
    ids: Collection[str] = ()
    numeric: Collection[str] = ()

    def roles(self) -> list[tuple[str, str]]:
        """Each named column with what it is called in messages."""
        targets = (self.target,) if isinstance(self.target, str) else self.target
        named: list[tuple[str | None, str]] = [(target, "the target") for target in targets]
        named += [(self.group, "the group"), (self.time, "the time")]
        named += [(name, "excluded") for name in self.exclude]
        named += [(name, "in ids") for name in self.ids] + [(name, "in numeric") for name in self.numeric]
        return [(column, role) for column, role in named if column is not None]

    def require_consistent(self) -> None:
        """Raise where a column is wished to be two things."""
        found: dict[str, str] = {}
        for column, role in self.roles():
            before = found.setdefault(column, role)
            if before != role and {before, role} not in ({"the group", "the time"}, {"the group", "in ids"}):
                raise SchemaError(
                    f"column {column!r} is named twice: it is {before} and {role}. Expected one of them. "
                    "Fix: name the column of outcomes as target, and each other column once."
                )


def infer_schema(table: Table, wishes: Wishes) -> Schema:
    """Return the proposed schema; see `Schema.infer`."""
    table = read_table(table)
    group = wishes.group
    require_columns(table, wishes.roles())
    wishes.require_consistent()
    roles = {name: f"it is {role}" for name, role in wishes.roles() if name != group and not role.startswith("in ")}
    features: list[Feature] = []
    decisions = []
    for column in _measure(table):
        feature, reason = _decide(column, column.name == group)
        if column.name in {*wishes.ids, *wishes.numeric}:
            feature, reason = _wished(column, is_id=column.name in wishes.ids)
        elif column.name in roles:
            feature, reason = None, roles[column.name]
        if feature is not None:
            features.append(feature)
        decisions.append(f"{column.name}: {_kind_name(feature)}, because {reason}.")
    if not features:
        raise SchemaError(
            f"no column of {table.name} can be a feature: {' '.join(decisions)} Expected at least one. "
            "Fix: declare the features yourself, Schema([IdFeature(...), ...], target=...)."
        )
    return Schema(_share_tables(features), target=wishes.target, group=group, time=wishes.time, decisions=decisions)


def _wished(column: _Column, *, is_id: bool) -> tuple[Feature, str]:
    if is_id:
        return IdFeature(column.name), "ids names it"
    long_tail = (column.low or 0) >= 0 and (column.skewness or 0) > HEAVY_TAIL
    return NumericFeature(column.name, transform="log1p" if long_tail else "standard"), "numeric names it"


def _kind_name(feature: Feature | None) -> str:
    return "left out" if feature is None else type(feature).__name__


def _measure(table: Table) -> list[_Column]:
    measures = [measure for name, type_ in table.columns.items() for measure in _measures(quote(name), kind_of(type_))]
    found = iter(table.sql(f"SELECT count(*), {', '.join(measures)} FROM rows")[0])
    rows = int(next(found))
    return [
        _Column(name, type_, rows, *values)
        for (name, type_), values in zip(table.columns.items(), zip(*[found] * 10, strict=True), strict=True)
    ]


def _measures(column: str, kind: str) -> list[str]:
    """Return SQL, in the order of `_Column`, from `present` on."""
    # Exact where a limit decides: an estimate may change with DuckDB's version, and with it the schema.
    distinct = f"approx_count_distinct({column})" if kind == "list" else f"count(DISTINCT {column})"
    measures = [f"count({column})", distinct]
    nothing = "CAST(NULL AS DOUBLE)"
    not_text = ["0", "0", "NULL"]
    if kind in {"integer", "float", "decimal"}:
        number = f"CAST({column} AS DOUBLE)"
        finite = f"FILTER (isfinite({number}))"
        measures[0] = f"count({column}) FILTER (NOT isnan({number}))"
        spread = f"CASE WHEN max({number}) {finite} > min({number}) {finite} THEN skewness({number} / 1e6) {finite} END"
        return [*measures, f"min({number}) {finite}", f"max({number}) {finite}", spread, nothing, "0", *not_text]
    if kind == "list":
        length = f"len({column})"
        return [*measures, f"min({length})", f"max({length})", nothing, f"avg({length})", "0", *not_text]
    if kind == "text":
        length = f"len(CAST({column} AS VARCHAR))"
        joined = f"count(*) FILTER (contains(CAST({column} AS VARCHAR), '|'))"
        lengths = [f"min({length})", f"max({length})", nothing, f"avg({length})"]
        text = f"CAST({column} AS VARCHAR)"
        number = f"TRY_CAST({text} AS DOUBLE)"
        dated = f"count(*) FILTER (regexp_matches({text}, {text_literal(_DATE_TEXT)}))"
        return [*measures, *lengths, joined, dated, f"count({number})", f"min({text}) FILTER ({number} IS NULL)"]
    return [*measures, nothing, nothing, nothing, nothing, "0", *not_text]


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
    if column.dated > MOSTLY * column.present and not is_group:
        return None, f"{about} that reads as dates, which a network cannot use as they are: derive numbers or weekdays"
    if MOSTLY * column.present < column.numbers < column.present:
        odd = f"{column.present - column.numbers:,} of {column.present:,} are no numbers, such as {column.odd!r}"
        return IdFeature(
            column.name
        ), f"{about}, but {odd}; if it is a number, read_table(..., missing=[{column.odd!r}])"
    return IdFeature(column.name), about


def _decide_integer(column: _Column, is_group: bool) -> tuple[Feature | None, str]:
    about = f"it is an integer with {column.distinct:,} values"
    if column.names_things or is_group:
        if column.hardly_repeats and not is_group:
            return None, f"its name is that of an id, and it hardly repeats ({column.present:,} rows): it names rows"
        return IdFeature(column.name), f"{about} and {'is the group' if is_group else 'is named like an id'}"
    if column.distinct <= FEW_VALUES:
        return IdFeature(column.name), f"{about}, few enough to give each its own row"
    if column.is_dense:
        return IdFeature(column.name), f"{about} that repeat and leave no gap, as ids do that were numbered"
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
