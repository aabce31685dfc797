"""How much arithmetic a file does: multiplications of its matrix products, for one row."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tfshop._quiet import quiet
from tfshop.runtime.graph import Graph, Operator, read_graph

Shapes = Mapping[int, tuple[int, ...]]


def count_multiplies(content: bytes) -> int:
    """Multiplications of the matrix products and convolutions of a file for one row of inputs.

    Products of a number with a number (gates, masks, normalizations) are not counted: they are a few per unit where a
    matrix product has one a weight. Shapes are those the file has when it runs, since the converter leaves free axes
    open.

    Args:
        content: The file; inputs with free axes other than the batch are taken with 1.

    Raises:
        ArtifactError: For bytes that are not a TFLite file.

    Example:
        >>> count_multiplies(content)  # doctest: +SKIP
        422801
    """
    graph = read_graph(content)
    shapes = _shapes_of_one_row(content, graph)
    return sum(COSTS[operator.kind](operator, shapes) for operator in graph.operators if operator.kind in COSTS)


def _fully_connected(operator: Operator, shapes: Shapes) -> int:
    """Each output is a sum over the weights' last axis."""
    return _size(shapes[operator.outputs[0]]) * shapes[operator.inputs[1]][-1]


def _batch_matmul(operator: Operator, shapes: Shapes) -> int:
    """Of (…, n, k) and (…, k, m), whichever of them stands transposed: n m k a matrix is sqrt(nk km nm)."""
    left, right, out = (shapes[index] for index in (*operator.inputs[:2], operator.outputs[0]))
    matrices = _size(out[:-2])
    product = _size(left[-2:]) * _size(right[-2:]) * _size(out[-2:])
    return matrices * round(float(np.sqrt(float(product))))


def _convolution(operator: Operator, shapes: Shapes) -> int:
    """Each output is a sum over one filter (out, height, width, in)."""
    return _size(shapes[operator.outputs[0]]) * _size(shapes[operator.inputs[1]][1:])


def _depthwise(operator: Operator, shapes: Shapes) -> int:
    """Each output is a sum over one channel of the filter (1, height, width, out)."""
    return _size(shapes[operator.outputs[0]]) * _size(shapes[operator.inputs[1]][1:3])


COSTS: Mapping[str, Callable[[Operator, Shapes], int]] = {
    "FULLY_CONNECTED": _fully_connected,
    "BATCH_MATMUL": _batch_matmul,
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
}


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _shapes_of_one_row(content: bytes, graph: Graph) -> Shapes:
    """Shape of each tensor after one row of zeros has run, without a delegate that hides what it computes."""
    with quiet():
        interpreter = Interpreter(
            model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        )
        for index in graph.inputs.values():
            shape = graph.tensors[index].shape
            interpreter.resize_tensor_input(index, [1 if axis == 0 else size for axis, size in enumerate(shape)])
        interpreter.allocate_tensors()
        for details in interpreter.get_input_details():
            interpreter.set_tensor(details["index"], np.zeros(details["shape"], dtype=details["dtype"]))
        interpreter.invoke()
        return {
            details["index"]: tuple(int(n) for n in details["shape"]) for details in interpreter.get_tensor_details()
        }
