"""Walks through a graph: the way of an id from its input to the table, and the tables that are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tfshop.errors import ScoringError
from tfshop.runtime.elements import Operator, Tensor
from tfshop.runtime.graph import Graph

# Operator that reads rows of a table: (position of the table, position of the index) among its inputs.
LOOKUPS: Mapping[str, tuple[int, int]] = {
    "GATHER": (0, 1),
    "GATHER_ND": (0, 1),
    "EMBEDDING_LOOKUP": (1, 0),
    "EMBEDDING_LOOKUP_SPARSE": (4, 0),
    "STABLEHLO_GATHER": (0, 1),
}
# Operators behind which a constant is still the same constant in another form.
REWRITES = frozenset({"DEQUANTIZE", "QUANTIZE", "CAST", "RESHAPE", "TRANSPOSE", "EXPAND_DIMS", "SQUEEZE", "DENSIFY"})
_QUANTIZERS = frozenset({"QUANTIZE", "DEQUANTIZE", "FAKE_QUANT"})
# Operators that read only the shape of what they are given: no id comes out of them.
_SHAPE_READERS = frozenset({"SHAPE", "RANK", "ZEROS_LIKE"})
# Types that cannot hold every id of a large table.
_NARROW = frozenset({"int8", "uint8", "int16", "uint16", "int4", "uint4", "int2", "float16", "bfloat16", "bool"})


@dataclass(frozen=True, eq=False)
class IdPath:
    """The way of one input to the lookups that use it as their index.

    Branches that end elsewhere, such as the padding mask of a sequence, are not on the way.

    Args:
        name: Of the input.
        operators: Between the input and the lookups, in order of execution, lookups excluded.
        tensors: The input and all that those operators make of it.
        lookups: The operators that use it as their index; empty if the input is no id.
    """

    name: str
    operators: tuple[Operator, ...]
    tensors: tuple[Tensor, ...]
    lookups: tuple[Operator, ...]

    @property
    def losses(self) -> tuple[str, ...]:
        """What on the way can turn an id into another one, a phrase each; empty is what an audit wants.

        A quantizing operator, a tensor with scales, or a type too narrow for ids.
        """
        steps = [f"operator {o.index} {o.kind}" for o in self.operators if o.kind in _QUANTIZERS]
        scaled = [f"tensor {t.index} {t.name!r} with a quantization scale" for t in self.tensors if t.is_quantized]
        narrow = [f"tensor {t.index} {t.name!r} of type {t.dtype}" for t in self.tensors if t.dtype in _NARROW]
        return (*steps, *scaled, *narrow)


@dataclass(frozen=True, eq=False)
class LookupTable:
    """A constant that lookups read rows of.

    Args:
        tensor: The constant as stored, before any DEQUANTIZE.
        operators: The lookups that read it.
        inputs: Names of the inputs that the index derives from.
    """

    tensor: Tensor
    operators: tuple[Operator, ...]
    inputs: tuple[str, ...]

    @property
    def num_rows(self) -> int:
        """Rows of the table."""
        return self.tensor.shape[0]

    @property
    def size_bytes(self) -> int:
        """Bytes in the file, scales included."""
        return self.tensor.size_bytes + self.tensor.parameter_bytes


def walk_from_input(graph: Graph, name: str) -> IdPath:
    """Follow an input to the lookups that use it, or what was computed from it, as their index.

    Raises:
        ScoringError: For a name the file does not have.

    Example:
        >>> walk_from_input(read_graph(content), "ids").losses  # doctest: +SKIP
        ()
    """
    if name not in graph.inputs:
        raise ScoringError(
            f"input {name!r} is not in the file. Expected one of {sorted(graph.inputs)}. "
            "Fix: use a name of the file's signature."
        )
    start = graph.inputs[name]
    reached, lookups = _forward(graph, start)
    wanted = _backward(graph, [operator.inputs[LOOKUPS[operator.kind][1]] for operator in lookups], within=reached)
    operators = tuple(o for o in graph.operators if set(o.outputs) & wanted and set(o.inputs) & reached)
    return IdPath(name, operators, tuple(graph.tensors[index] for index in sorted(wanted)), lookups)


def lookup_tables(graph: Graph) -> tuple[LookupTable, ...]:
    """The constants that lookups read with an index computed from an input, in order of first use.

    A codebook indexed by codes that were themselves looked up counts, and so does a constant behind a
    DEQUANTIZE (float16 files).
    """
    origins = _origins(graph)
    found: dict[int, list[Operator]] = {}
    for operator in graph.operators:
        if operator.kind in LOOKUPS:
            table, index = (operator.inputs[position] for position in LOOKUPS[operator.kind])
            constant = constant_behind(graph, table)
            if constant is not None and origins.get(index):
                found.setdefault(constant.index, []).append(operator)
    return tuple(
        LookupTable(graph.tensors[index], tuple(operators), _names_of(operators, origins))
        for index, operators in found.items()
    )


def constant_behind(graph: Graph, index: int) -> Tensor | None:
    """The constant that a tensor is, or is another form of; None for a value computed from inputs."""
    while index >= 0:
        if graph.tensors[index].is_constant:
            return graph.tensors[index]
        producer = graph.producers.get(index)
        if producer is None or producer.kind not in REWRITES:
            return None
        index = producer.inputs[0]
    return None


def _forward(graph: Graph, start: int) -> tuple[set[int], tuple[Operator, ...]]:
    """Tensors computed from one without passing through a lookup by index, and those lookups."""
    reached, lookups = {start}, []
    for operator in graph.operators:
        if operator.kind in _SHAPE_READERS or not reached.intersection(operator.inputs):
            continue
        if operator.kind in LOOKUPS and operator.inputs[LOOKUPS[operator.kind][1]] in reached:
            lookups.append(operator)
        else:
            reached.update(operator.outputs)
    return reached, tuple(lookups)


def _backward(graph: Graph, ends: Iterable[int], *, within: set[int]) -> set[int]:
    """Tensors of `within` that the ends are computed from, the ends included."""
    wanted, open_ends = set(), list(ends)
    while open_ends:
        index = open_ends.pop()
        if index in within and index not in wanted:
            wanted.add(index)
            producer = graph.producers.get(index)
            open_ends.extend(producer.inputs if producer is not None else ())
    return wanted


def _origins(graph: Graph) -> dict[int, frozenset[str]]:
    """Tensor index -> names of the inputs it is computed from."""
    origins = {index: frozenset({name}) for name, index in graph.inputs.items()}
    for operator in graph.operators:
        if operator.kind in _SHAPE_READERS:
            continue
        union = frozenset[str]().union(*(origins.get(index, frozenset()) for index in operator.inputs))
        origins.update(dict.fromkeys(operator.outputs, union))
    return origins


def _names_of(operators: Iterable[Operator], origins: Mapping[int, frozenset[str]]) -> tuple[str, ...]:
    """Inputs behind the indices of these lookups, sorted."""

    def names() -> Iterator[str]:
        for operator in operators:
            yield from origins[operator.inputs[LOOKUPS[operator.kind][1]]]

    return tuple(sorted(set(names())))
