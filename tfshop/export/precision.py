"""Which operators stay in float when the rest of a graph becomes int8."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from tfshop.numerics.narrow import is_few
from tfshop.runtime.graph import Graph, Operator

# A lookup or a matrix product ends a run of float operators: what lies beyond has a range of its own.
LOOKUPS = frozenset({"GATHER", "GATHER_ND", "EMBEDDING_LOOKUP"})
PRODUCTS = frozenset({"FULLY_CONNECTED", "BATCH_MATMUL"})
INTEGERS = frozenset({"int8", "int16", "int32", "int64", "bool"})  # uint8: codes of tables


def float_operators(graph: Graph, *, float_head: bool = True) -> tuple[str, ...]:
    """Names of the operators' outputs that an int8 converter should leave in float.

    1. The head: from the outputs back to the nearest matrix products, those included. In int8 a probability has
       256 levels, and candidates tie. A product with a single number, such as the weight of a two-tower score, is
       passed over: the score itself has to have more levels. Wherever a score hangs on few numbers, as between the two
       halves of a kernel of rank 4, what gives and what reads them.
    2. Raw numbers: from the float inputs on to the first matrix product or concatenation. Logarithms of raw
       counts, and NaN, do not survive 256 levels.
    3. Masks made from ids: from the casts on to the product that applies them. Codes of tables are no masks.
    4. Concatenations of raw numbers with tables: one scale for both would leave the table a few levels.
    5. Normalizations: from a reciprocal root back to the nearest matrix products and on to the next ones. A variance
       in 256 levels is off by a factor where it is small.

    Args:
        graph: The calibrated float graph.
        float_head: Whether the head stays in float; not where the file's output is to be int8.
    """
    names = [*_raw_numbers(graph), *_masks(graph), *_normalizations(graph)]
    if float_head:
        names += [*_back(graph, graph.outputs.values()), *_around_few(graph)]
    return tuple(dict.fromkeys(names))


def _back(graph: Graph, ends: Iterable[int]) -> Iterable[str]:
    """Outputs from `ends` back to the nearest matrix products, those included."""
    waiting = list(ends)
    seen: set[int] = set()
    while waiting:
        index = waiting.pop()
        operator = graph.producers.get(index)
        if index in seen or operator is None or operator.kind in LOOKUPS or _joins_many(graph, operator):
            continue
        seen.add(index)
        yield from _output_names(graph, operator)
        if operator.kind not in PRODUCTS or graph.tensors[operator.inputs[0]].shape[-1:] == (1,):
            waiting.extend(_computed_inputs(graph, operator))


def _around_few(graph: Graph) -> Iterable[str]:
    """Along the way that everything in a score takes: products that read few numbers, and what gives these."""
    for output in graph.outputs.values():
        read = [output]
        while len(read) == 1:
            operator = graph.producers.get(read[0])
            if operator is None or operator.kind in LOOKUPS:
                break
            if operator.kind == "FULLY_CONNECTED" and is_few(_numbers(graph, operator.inputs[0])):
                yield from _output_names(graph, operator)
                yield from _back(graph, operator.inputs[:1])
            read = _computed_inputs(graph, operator)


def _joins_many(graph: Graph, operator: Operator) -> bool:
    return operator.kind == "CONCATENATION" and not is_few(_numbers(graph, operator.outputs[0]))


def _numbers(graph: Graph, index: int) -> int:
    """How many numbers a row has in a tensor: free dimensions count as one, so the most that reshapes show."""
    count = prod(graph.tensors[index].shape)
    operator = graph.producers.get(index)
    if operator is None or operator.kind != "RESHAPE":
        return count
    return max(count, _numbers(graph, operator.inputs[0]))


def _raw_numbers(graph: Graph) -> Iterable[str]:
    starts = [index for index in graph.inputs.values() if graph.tensors[index].dtype == "float32"]
    yield from _forward(graph, starts, through={"CONCATENATION"}, last=set())


def _normalizations(graph: Graph) -> Iterable[str]:
    roots = [operator.outputs[0] for operator in graph.operators if operator.kind == "RSQRT"]
    yield from _back(graph, roots)
    yield from _forward(graph, roots, through=set(), last=set())


def _masks(graph: Graph) -> Iterable[str]:
    casts = [
        operator
        for operator in graph.operators
        if operator.kind == "CAST"
        and graph.tensors[operator.inputs[0]].dtype in INTEGERS
        and graph.tensors[operator.outputs[0]].dtype == "float32"
    ]
    yield from _forward(graph, [operator.outputs[0] for operator in casts], through=set(), last={"BATCH_MATMUL"})


def _forward(graph: Graph, starts: list[int], *, through: set[str], last: set[str]) -> Iterable[str]:
    """Outputs reached from `starts` up to products and concatenations; those in `last` or `through` are included."""
    waiting, seen = list(starts), set(starts)
    while waiting:
        for operator in graph.consumers.get(waiting.pop(), ()):
            # A float is no index: a GATHER on the way picks columns.
            ends = operator.kind in PRODUCTS or operator.kind == "CONCATENATION"
            if ends and operator.kind not in last | through:
                continue
            yield from _output_names(graph, operator)
            if not ends:
                fresh = [index for index in operator.outputs if index not in seen]
                seen.update(fresh)
                waiting.extend(fresh)


def _computed_inputs(graph: Graph, operator: Operator) -> list[int]:
    return [index for index in operator.inputs if index >= 0 and not graph.tensors[index].is_constant]


def _output_names(graph: Graph, operator: Operator) -> Iterable[str]:
    return (graph.tensors[index].name for index in operator.outputs)
