"""A converted graph as values: what is inside a `.tflite`, read without running it."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from tfshop.errors import ArtifactError
from tfshop.runtime.elements import Operator, Tensor
from tfshop.runtime.flatbuffer import FlatModel

__all__ = ["Graph", "Operator", "Tensor", "not_a_tflite", "read_graph"]

# What a flatbuffer reader that meets damaged bytes can raise.
_DAMAGE = (struct.error, IndexError, ValueError, TypeError, KeyError, OverflowError, AttributeError, MemoryError)


@dataclass(frozen=True, eq=False)
class Graph:
    """The main graph of a file, and the operators of its other subgraphs.

    Args:
        operators: Of the main graph, in order of execution.
        tensors: Of the main graph, by index.
        inputs: Signature name -> tensor index.
        outputs: Signature name -> tensor index.
        other_operators: Of all other subgraphs (branches, loops): listed so that none escapes an audit.
    """

    operators: tuple[Operator, ...]
    tensors: tuple[Tensor, ...]
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    other_operators: tuple[Operator, ...] = ()

    @property
    def all_operators(self) -> tuple[Operator, ...]:
        """Operators of every subgraph."""
        return self.operators + self.other_operators

    @property
    def custom_operators(self) -> tuple[Operator, ...]:
        """Operators that plain LiteRT does not have: Flex and other custom code, in any subgraph."""
        return tuple(operator for operator in self.all_operators if operator.is_custom)

    @property
    def kinds(self) -> Mapping[str, int]:
        """How often each kind of operator occurs, the most frequent first."""
        return dict(Counter(operator.kind for operator in self.all_operators).most_common())

    @cached_property
    def producers(self) -> Mapping[int, Operator]:
        """Tensor index -> the operator of the main graph that computes it."""
        return {output: operator for operator in self.operators for output in operator.outputs}

    @cached_property
    def consumers(self) -> Mapping[int, tuple[Operator, ...]]:
        """Tensor index -> the operators of the main graph that read it."""
        found: dict[int, list[Operator]] = {}
        for operator in self.operators:
            for index in set(operator.inputs) - {-1}:
                found.setdefault(index, []).append(operator)
        return {index: tuple(operators) for index, operators in found.items()}


def read_graph(content: bytes) -> Graph:
    """Read the graph of a `.tflite`.

    Constants are views of `content`, so that a large table is not copied.

    Raises:
        ArtifactError: For bytes that are not a TFLite file, or are cut short or damaged.

    Example:
        >>> graph = read_graph(Path("model.tflite").read_bytes())  # doctest: +SKIP
        >>> graph.kinds, graph.inputs  # doctest: +SKIP
        ({'FULLY_CONNECTED': 4, 'ADD': 1, 'GATHER': 1, …}, {'ids': 0, 'numeric': 1})
    """
    content = bytes(content)
    try:
        model = FlatModel(content)
        inputs, outputs = model.ends()
        graph = Graph(
            operators=model.operators(0),
            tensors=model.tensors(),
            inputs=inputs,
            outputs=outputs,
            other_operators=tuple(
                operator for number in range(1, model.num_subgraphs) for operator in model.operators(number)
            ),
        )
        _check_indices(graph)
    except _DAMAGE as error:
        raise not_a_tflite(content, str(error)) from error
    return graph


def not_a_tflite(content: bytes, found: str) -> ArtifactError:
    """The refusal of bytes that cannot be read."""
    return ArtifactError(
        f"the model ({len(content):,} bytes) is not a TFLite file, or is cut short or damaged: {found}. Expected the "
        "bytes of a whole `.tflite`. Fix: copy or download the file again, or export it anew."
    )


def _check_indices(graph: Graph) -> None:
    """Refuse operators and signatures that point outside the list of tensors."""
    used = [index for operator in graph.operators for index in operator.inputs + operator.outputs]
    used += [*graph.inputs.values(), *graph.outputs.values()]
    for index in used:
        if not -1 <= index < len(graph.tensors):
            raise ValueError(f"tensor {index} of {len(graph.tensors)} is used")
    if not graph.tensors or not graph.outputs:
        raise ValueError("it has no tensors or no outputs")
