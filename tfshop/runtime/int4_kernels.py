"""Kernels of few levels in half the bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from tfshop.numerics.integer_rows import packed_in_order
from tfshop.runtime.elements import Operator, Tensor
from tfshop.runtime.graph import Graph, read_graph
from tfshop.runtime.structure import OpenFile

VERSION = 10  # of FULLY_CONNECTED: int4 kernels between int8 activations
BITS, LEVELS = 4, 7  # above zero, and below
HALF = 0.5 + 1e-6  # of a step of int8, by which a level may be off


def with_int4_kernels(content: bytes) -> bytes:
    """The file with int4 kernels where every channel of an int8 kernel has at most 15 evenly spaced levels.

    That is what `QAT(bits=4)` trains: its steps are then those of the file, no longer rounded to int8's. Biases are
    rounded to the products' new steps. Kernels of more levels, and what is between floats, stay as they are.

    Args:
        content: As the converter left it.

    Raises:
        ArtifactError: For bytes that are not a TFLite file.
        ExportError: For a file over 2 GB.
    """
    graph, file = read_graph(content), OpenFile(content)
    made: dict[int, tuple[int, NDArray[np.float32]]] = {}
    for operator in graph.operators:
        kernel = _int8_kernel(graph, operator)
        if kernel is None:
            continue
        if kernel.index not in made:
            found = _levels(kernel)
            if found is None:
                continue
            made[kernel.index] = _packed(file, kernel, *found)
        _replace(file, graph, operator, *made[kernel.index])
    return file.to_bytes() if made else content


def _int8_kernel(graph: Graph, operator: Operator) -> Tensor | None:
    """The constant kernel of a product that is int8 throughout, with scales a channel; None for other operators."""
    if operator.kind != "FULLY_CONNECTED":
        return None
    ends = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    kernel = graph.tensors[operator.inputs[1]]
    is_int8 = all(tensor.dtype == "int8" for tensor in (*ends, kernel))
    is_plain = kernel.is_constant and not kernel.is_sparse and kernel.scales is not None
    return kernel if is_int8 and is_plain and not np.any(kernel.zero_levels()) else None


def _levels(kernel: Tensor) -> tuple[NDArray[np.int8], NDArray[np.float32]] | None:
    """Codes of -7 … 7 and a step a scale; None where there are more levels, or they are not evenly spaced."""
    codes, scales = kernel.stored().astype(np.float64), np.asarray(kernel.scales, dtype=np.float64)
    if scales.size == 1:
        codes = codes.reshape(1, -1)
    if codes.shape[0] != scales.size:
        return None
    found, steps = np.zeros(codes.shape), scales.copy()
    for channel, own in enumerate(codes):
        largest = np.abs(own).max(initial=0.0)
        for count in range(LEVELS, 0, -1) if largest else ():
            whole = np.round(own * count / largest)
            if np.abs(whole * largest / count - own).max() <= HALF:
                found[channel], steps[channel] = whole, scales[channel] * largest / count
                break
        else:
            if largest:
                return None
    return found.reshape(kernel.shape).astype(np.int8), steps.astype(np.float32)


def _packed(
    file: OpenFile, kernel: Tensor, codes: NDArray[np.int8], steps: NDArray[np.float32]
) -> tuple[int, NDArray[np.float32]]:
    """The tensor in the place of a kernel, and its steps."""
    index, tensor = file.add(kernel.index, dtype="INT4")
    tensor.buffer = file.hold(packed_in_order(codes.reshape(1, -1), BITS))
    tensor.quantization = _scaled(steps)
    return index, steps


def _replace(file: OpenFile, graph: Graph, operator: Operator, kernel: int, steps: NDArray[np.float32]) -> None:
    """Let a product read the new kernel, and a bias in its steps."""
    changed = file.operators[operator.index]
    inputs = [operator.inputs[0], kernel, *operator.inputs[2:]]
    if len(inputs) > 2 and inputs[2] >= 0:  # noqa: PLR2004 - the third input is the bias
        bias = graph.tensors[inputs[2]]
        read = np.float32(np.asarray(graph.tensors[inputs[0]].scales)[0])
        index, tensor = file.add(bias.index)
        tensor.quantization = _scaled(read * steps)
        tensor.buffer = file.hold(np.round(bias.values() / (read * steps)).astype(np.int32))
        inputs[2] = index
    changed.inputs = np.array(inputs, dtype=np.int32)
    changed.opcodeIndex = file.kind("FULLY_CONNECTED", VERSION)


def _scaled(steps: NDArray[np.float32]) -> Any:
    quantization = schema.QuantizationParametersT()
    quantization.scale, quantization.zeroPoint = steps, np.zeros(steps.size, dtype=np.int64)
    return quantization
