"""What the tensors inside a file hold while it scores: read batch by batch, nothing kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from tfshop._quiet import quiet
from tfshop.errors import ScoringError
from tfshop.runtime.graph import Graph

Batch = Mapping[str, NDArray[Any]]


def observed(
    content: bytes, graph: Graph, batches: Iterable[Batch], indices: Sequence[int]
) -> Iterator[dict[int, NDArray[Any]]]:
    """Run a file and give the named tensors after each batch, dequantized.

    No delegate takes part: it would fuse operators, and tensors between them would not exist. Nor is memory shared
    between tensors.

    Args:
        content: The file.
        graph: The same file, read.
        batches: Inputs by signature name.
        indices: Tensors of the main graph.

    Raises:
        ScoringError: Where LiteRT stops.
    """
    with quiet():
        interpreter = Interpreter(
            model_content=content,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
    shapes: dict[str, tuple[int, ...]] = {}
    for batch in batches:
        try:
            shapes = _feed(interpreter, graph, batch, shapes)
            interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise ScoringError(
                f"LiteRT stopped while tensors were read: {error}. Expected inputs that every operator can take. "
                "Fix: see whether the file scores at all, with Scorer(…)."
            ) from error
        yield {index: _numbers(interpreter.get_tensor(index), graph, index) for index in indices}


def _feed(
    interpreter: Any, graph: Graph, batch: Batch, shapes: dict[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    wanted = {name: batch[name].shape for name in graph.inputs}
    if wanted != shapes:
        for name, shape in wanted.items():
            interpreter.resize_tensor_input(graph.inputs[name], shape)
        interpreter.allocate_tensors()
    for name, index in graph.inputs.items():
        tensor = graph.tensors[index]
        values = batch[name]
        if tensor.scales is not None and tensor.zero_points is not None:
            low, high = np.iinfo(tensor.dtype).min, np.iinfo(tensor.dtype).max
            values = np.clip(np.round(values / tensor.scales[0]) + tensor.zero_points[0], low, high)
        interpreter.set_tensor(index, values.astype(tensor.dtype))
    return wanted


def _numbers(values: NDArray[Any], graph: Graph, index: int) -> NDArray[Any]:
    tensor = graph.tensors[index]
    if tensor.scales is None or tensor.scales.size != 1:
        return values
    zero_point = 0 if tensor.zero_points is None else tensor.zero_points[0]
    return np.asarray((values.astype(np.float64) - zero_point) * tensor.scales[0])
