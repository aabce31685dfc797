"""SQL for one column: what its type is good for, and how its values become ids, numbers, lists and labels."""

from __future__ import annotations

from tfshop.data.features import Feature, IdFeature, NumericFeature, SequenceFeature
from tfshop.errors import SchemaError

_INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"}
_INTEGERS |= {f"U{name}" for name in _INTEGERS}


def quote(name: str) -> str:
    """Return a column name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def text_literal(text: str) -> str:
    """Return text as SQL."""
    return "'" + text.replace("'", "''") + "'"


def kind_of(column_type: str) -> str:
    """Return what a DuckDB type is: text, integer, decimal, float, boolean, date, list, null or other.

    Decimals without decimal places are integers: databases keep unsigned 64-bit ids so.
    """
    if column_type.endswith("]"):
        return "list"
    if column_type.startswith("DECIMAL(") and column_type.endswith(",0)"):
        return "integer"
    base = column_type.split("(", maxsplit=1)[0].strip('"')
    if base in _INTEGERS:
        return "integer"
    if base.startswith(("DATE", "TIME")):
        return "date"
    kinds = {"FLOAT": "float", "DOUBLE": "float", "DECIMAL": "decimal", "BOOLEAN": "boolean", "NULL": "null"}
    kinds |= {"VARCHAR": "text", "ENUM": "text", "UUID": "text"}
    return kinds.get(base, "other")


def element_of(column_type: str) -> str:
    """Return the type of a list's elements."""
    return column_type[: column_type.rindex("[")]


def id_sql(name: str) -> str:
    """Return SQL for the text form of an id: integers as decimal text, booleans as true/false, dates in ISO."""
    return f"CAST({quote(name)} AS VARCHAR)"


def number_sql(name: str, column_type: str) -> str:
    """Return SQL for a number as DOUBLE, NULL where missing or not a number."""
    cast = "TRY_CAST" if kind_of(column_type) == "text" else "CAST"
    return f"{cast}({quote(name)} AS DOUBLE)"


def sequence_sql(feature: SequenceFeature, column_type: str) -> str:
    """Return SQL for the most recent ids of a sequence as a list of text, oldest first."""
    column = quote(feature.name)
    if kind_of(column_type) == "list":
        values = f"CAST({column} AS VARCHAR[])"
    else:
        values = f"string_split(nullif(CAST({column} AS VARCHAR), ''), {text_literal(feature.separator)})"
    return f"list_slice({values}, greatest(len({values}) - {feature.max_length - 1}, 1), len({values}))"


def label_sql(name: str, column_type: str) -> str:
    """Return SQL for a label: 1, 0, NULL where missing, -1 for anything else."""
    column = quote(name)
    if kind_of(column_type) in {"integer", "decimal", "float"}:
        value = f"CAST({column} AS DOUBLE)"
        return f"CASE WHEN {value} IS NULL OR isnan({value}) THEN NULL WHEN {value} IN (0, 1) THEN {value} ELSE -1 END"
    value = f"lower(CAST({column} AS VARCHAR))"
    return (
        f"CASE WHEN {value} IS NULL THEN NULL WHEN {value} IN ('1', 'true') THEN 1 "
        f"WHEN {value} IN ('0', 'false') THEN 0 ELSE -1 END"
    )


def require_type(feature: Feature, column_type: str, example: object) -> None:
    """Raise where a column of this type cannot be what the feature says it is."""
    kind = kind_of(column_type)
    if kind == "null":
        return
    if isinstance(feature, IdFeature):
        _require_id(feature.name, kind, column_type, example)
    elif isinstance(feature, NumericFeature):
        if kind not in {"integer", "decimal", "float", "boolean", "text"}:
            raise SchemaError(
                f"column {feature.name!r} is declared NumericFeature, but its type is {column_type} (e.g. {example}). "
                f"Expected numbers. Fix: turn it into a number first, or declare IdFeature({feature.name!r})."
            )
    elif isinstance(feature, SequenceFeature):
        _require_sequence(feature, kind, column_type, example)
    elif kind != "list" or kind_of(element_of(column_type)) not in {"integer", "decimal", "float"}:
        raise SchemaError(
            f"column {feature.name!r} is declared VectorFeature, but its type is {column_type} (e.g. {example!r}). "
            f"Expected lists of {feature.width} numbers. Fix: store each row's vector as a list of floats (Parquet)."
        )


def _require_id(name: str, kind: str, column_type: str, example: object) -> None:
    if kind == "float":
        raise SchemaError(
            f"column {name!r} is declared IdFeature, but its type is {column_type} (e.g. {example!r}). Expected text, "
            f"integers, booleans or dates. Fix: read it as text or integer (pandas: frame[{name!r}].astype('Int64')), "
            f"or declare NumericFeature({name!r})."
        )
    if kind in {"list", "other"}:
        hint = f"SequenceFeature({name!r}, table=...)" if kind == "list" else "a column of text"
        raise SchemaError(
            f"column {name!r} is declared IdFeature, but its type is {column_type} (e.g. {example!r}). Expected text, "
            f"integers, booleans or dates. Fix: use {hint}."
        )


def _require_sequence(feature: SequenceFeature, kind: str, column_type: str, example: object) -> None:
    elements = kind_of(element_of(column_type)) if kind == "list" else kind
    allowed = {"text", "integer", "boolean", "date", "null"} if kind == "list" else {"text"}
    if elements not in allowed:
        raise SchemaError(
            f"column {feature.name!r} is declared SequenceFeature, but its type is {column_type} (e.g. {example!r}). "
            f"Expected lists of text or integers, or text joined by {feature.separator!r}. Fix: store lists of ids."
        )
