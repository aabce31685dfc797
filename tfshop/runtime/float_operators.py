"""Operators of a file put back into float32, as another conversion of the same network has them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from tfshop.errors import ExportError
from tfshop.runtime.elements import Operator, Tensor
from tfshop.runtime.graph import Graph, read_graph
from tfshop.runtime.structure import OpenFile

FLOAT = "float32"
TO_FLOAT = "DEQUANTIZE"


def with_float_operators(content: bytes, exact: bytes, named: Collection[str]) -> bytes:
    """The file with the float constants of some operators to the bit those of another file.

    A "float16" file has halves of them behind DEQUANTIZE, a "dynamic" one int8 of those that are large. The operators
    named read float32 instead; what is converted stays where others read it.

    Args:
        content: As the converter left it.
        exact: The same network in float32.
        named: Outputs of the operators, as `exact` names them.

    Returns:
        `content` itself where nothing is to be changed.

    Raises:
        ArtifactError: For bytes that are not a TFLite file.
        ExportError: For files that do not have the same operators, and for a file over 2 GB.
    """
    graph, whole = read_graph(content), read_graph(exact)
    changes = [
        (operator, lost)
        for operator, other in _pairs(graph, whole)
        if not set(named).isdisjoint(whole.tensors[index].name for index in other.outputs)
        and (lost := _lost(graph, operator, whole, other))
    ]
    if not changes:
        return content
    file = OpenFile(content)
    made: dict[int, int] = {}
    for operator, lost in changes:
        inputs = np.array(operator.inputs, dtype=np.int32)
        for place, constant in lost.items():
            if constant.index not in made:
                made[constant.index] = _constant(file, operator.inputs[place], constant)
            inputs[place] = made[constant.index]
        file.operators[operator.index].inputs = inputs
    for operator, _ in changes:
        _give_floats(file, graph, operator)
    return file.to_bytes()


def _pairs(graph: Graph, whole: Graph) -> list[tuple[Operator, Operator]]:
    """The operators of both graphs, one beside the other."""
    ours, theirs = ([o for o in g.operators if o.kind not in {TO_FLOAT, "QUANTIZE"}] for g in (graph, whole))
    if [(one.kind, len(one.inputs)) for one in ours] != [(one.kind, len(one.inputs)) for one in theirs]:
        raise ExportError(
            f"the converted file has {len(ours)} operators that are not those of the network in float32, "
            f"{len(theirs)}, so that its lookups cannot be told. Expected the same ones in the same order. "
            "Fix: Export('int8') or Export('float32')."
        )
    return list(zip(ours, theirs, strict=True))


def _lost(graph: Graph, operator: Operator, whole: Graph, other: Operator) -> dict[int, Tensor]:
    """Place among an operator's inputs -> the float constant that the other graph alone has there."""
    found = {}
    for place, (index, wanted) in enumerate(zip(operator.inputs, other.inputs, strict=True)):
        held, constant = graph.tensors[index], whole.tensors[wanted]
        if wanted >= 0 and _is_float(constant) and not _is_float(held):
            found[place] = constant
    return found


def _is_float(tensor: Tensor) -> bool:
    return tensor.is_constant and tensor.dtype == FLOAT


def _constant(file: OpenFile, like: int, constant: Tensor) -> int:
    """A tensor of its own for a constant of the other file."""
    index, tensor = file.add(like, constant.shape, FLOAT.upper())
    tensor.name, tensor.buffer = constant.name.encode(), file.hold(constant.stored())
    return index


def _give_floats(file: OpenFile, graph: Graph, operator: Operator) -> None:
    """Let an operator give what DEQUANTIZE made of its output; readers of further such operators read it too."""
    outputs = np.array(operator.outputs, dtype=np.int32)
    for place, index in enumerate(operator.outputs):
        readers = graph.consumers.get(index, ())
        if graph.tensors[index].dtype == FLOAT or not readers:
            continue
        if any(reader.kind != TO_FLOAT for reader in readers):
            raise ExportError(
                f"{graph.tensors[index].name!r} is computed of int8 constants and read by "
                f"{', '.join(reader.kind for reader in readers)}. Expected DEQUANTIZE behind a lookup. "
                "Fix: Export('int8') or Export('float32')."
            )
        outputs[place] = readers[0].outputs[0]
        for reader in readers:
            unread = file.operators[reader.index]
            unread.inputs, unread.outputs = np.empty(0, dtype=np.int32), np.array([index], dtype=np.int32)
        for reader in readers[1:]:
            _redirect(file, graph, reader.outputs[0], readers[0].outputs[0])
    file.operators[operator.index].outputs = outputs


def _redirect(file: OpenFile, graph: Graph, old: int, new: int) -> None:
    """Let the readers of one tensor read another one."""
    for reader in graph.consumers.get(old, ()):
        changed = file.operators[reader.index]
        changed.inputs = np.where(np.asarray(changed.inputs) == old, new, changed.inputs).astype(np.int32)
