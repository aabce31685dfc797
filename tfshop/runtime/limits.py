"""How large an id may be, read from the schema or from the graph.

LiteRT stops with an error only where an id falls off the end of the merged table. An id that is too large for its own
feature but not for the merged table reads a row of the next feature, and a negative one a row of the feature before:
a wrong score without a word. So the limits are enforced before the graph runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfshop.errors import ScoringError
from tfshop.runtime.elements import Operator
from tfshop.runtime.graph import Graph
from tfshop.runtime.walks import LOOKUPS, constant_behind

if TYPE_CHECKING:
    from tfshop.data.schema import Schema

# Operators that keep the order of the columns when no column is added or lost.
_KEEPS_COLUMNS = frozenset({"RESHAPE", "EXPAND_DIMS", "SQUEEZE", "CAST"})


@dataclass(frozen=True)
class _Column:
    """One column of an input on its way to a table, with the offset it has got so far."""

    name: str
    position: int
    offset: int = 0


@dataclass(frozen=True)
class IdLimit:
    """Ids of one column have to be under `rows`.

    Args:
        rows: Rows of the column's table; None where nothing is known.
        feature: Name of the feature; empty where the file alone does not tell.
    """

    rows: int | None = None
    feature: str = ""


def limits_from_graph(graph: Graph) -> dict[str, tuple[IdLimit, ...]]:
    """Limits that the graph itself reveals: input name -> one limit a column.

    The way from the input to a lookup is followed through added constants, joins and reshapes. Where the columns have
    different offsets the table is a merged one, and a column's table ends where the next begins.
    """
    found: dict[_Column, int] = {}
    for columns, rows in _looked_up(graph):
        starts = {column.offset for column in columns} | {rows}
        for column in columns:
            end = min((start for start in starts if start > column.offset), default=rows)
            key = _Column(column.name, column.position)
            found[key] = min(found.get(key, end), max(end - column.offset, 1))
    return {
        name: tuple(IdLimit(found.get(_Column(name, position))) for position in range(_width(graph, index)))
        for name, index in graph.inputs.items()
        if any(column.name == name for column in found)
    }


def limits_from_schema(schema: Schema, names: Iterable[str]) -> dict[str, tuple[IdLimit, ...]]:
    """Limits that a fitted schema states, for inputs packed or named by feature; none before it is fitted."""
    if not schema.is_fitted:
        return {}
    tables = schema.tables
    by_feature = {f.name: IdLimit(tables[f.table_name], f.name) for f in schema.id_features}
    limits = {feature.name: (by_feature[feature.name],) * feature.hashes for feature in schema.id_features}
    limits["ids"] = tuple(by_feature[feature.name] for feature in schema.id_columns)
    for feature in schema.sequence_features:
        limit = (IdLimit(tables[feature.table_name], feature.name),) * feature.max_length
        limits[feature.input_name] = limits[feature.name] = limit
    return {name: limits[name] for name in names if limits.get(name)}


def id_limits(graph: Graph, schema: Schema | None) -> dict[str, tuple[IdLimit, ...]]:
    """What the schema states, and for the other inputs what the graph reveals.

    Raises:
        ScoringError: For a schema with another number of columns than the file.
    """
    stated = {} if schema is None else limits_from_schema(schema, graph.inputs)
    for name, limits in stated.items():
        tensor = graph.tensors[graph.inputs[name]]
        width = _width(graph, graph.inputs[name])
        if width != len(limits) and tensor.shape_signature[-1] != -1:
            raise ScoringError(
                f"input {name!r} of the file has {width} columns, but the schema gives it {len(limits)}. Expected the "
                "schema the file was made with. Fix: load the artifact that holds both, or leave schema out."
            )
    return {**limits_from_graph(graph), **stated}


def _looked_up(graph: Graph) -> Iterator[tuple[tuple[_Column, ...], int]]:
    """Columns that reach a constant table as its index, and the rows of that table."""
    columns = {
        index: tuple(_Column(name, position) for position in range(_width(graph, index)))
        for name, index in graph.inputs.items()
        if graph.tensors[index].dtype in {"int32", "int64"}
    }
    for operator in graph.operators:
        if operator.kind in LOOKUPS:
            table, index = (operator.inputs[position] for position in LOOKUPS[operator.kind])
            constant = constant_behind(graph, table)
            if constant is not None and constant.shape and index in columns:
                yield columns[index], constant.shape[0]
        else:
            made = _columns_after(operator, columns, graph)
            if made:
                columns[operator.outputs[0]] = made


def _columns_after(
    operator: Operator, columns: Mapping[int, tuple[_Column, ...]], graph: Graph
) -> tuple[_Column, ...] | None:
    """Columns of an operator's output; None where they can no longer be told apart."""
    known = [columns[index] for index in operator.inputs if index in columns]
    if not known:
        return None
    if operator.kind in _KEEPS_COLUMNS and graph.tensors[operator.outputs[0]].dtype in {"int32", "int64"}:
        return known[0]
    if operator.kind == "ADD" and len(known) == 1:
        return _shifted(operator, known[0], graph)
    if operator.kind == "CONCATENATION" and len(known) == len(operator.inputs):
        joined = tuple(column for part in known for column in part)
        return joined if graph.tensors[operator.outputs[0]].shape[-1:] == (len(joined),) else None
    return None


def _shifted(operator: Operator, columns: tuple[_Column, ...], graph: Graph) -> tuple[_Column, ...] | None:
    """Columns after a constant was added, one for all or one for each."""
    constants = [graph.tensors[index] for index in operator.inputs if graph.tensors[index].is_constant]
    if len(constants) != 1:
        return None
    offsets = constants[0].stored().reshape(-1).tolist()
    if len(offsets) == 1:
        offsets *= len(columns)
    if len(offsets) != len(columns):
        return None
    return tuple(_Column(c.name, c.position, c.offset + int(o)) for c, o in zip(columns, offsets, strict=True))


def _width(graph: Graph, index: int) -> int:
    """Columns of an input: the size of its last axis, 1 for one id a row."""
    shape = graph.tensors[index].shape
    return shape[-1] if len(shape) > 1 else 1
