"""Ranges of activations, chosen from what the calibrated float graph really holds."""

from __future__ import annotations

from collections.abc import Mapping

from tfshop.export.settings import Batches
from tfshop.numerics import Histogram, choose_range
from tfshop.runtime.editing import recorded_ranges
from tfshop.runtime.graph import Graph, read_graph
from tfshop.runtime.observer import observed

Ranges = Mapping[int, tuple[float, float]]
NOTHING = 1e-6  # a range narrower than this has no levels worth having


def chosen_ranges(
    content: bytes, calibration: Batches, method: str, percentile: float
) -> dict[int, tuple[float, float]]:
    """A range for each tensor that the quantizer reads one of.

    TensorFlow's calibrator looks at a tensor after the next operator may have written its own result into the same
    memory, and so records ranges that are too wide: here every tensor has memory of its own. What a trained range
    (QAT) holds is in integers already and is left as it was trained.

    Args:
        content: The calibrated float graph.
        calibration: Its batches of inputs.
        method: Key of `RANGE_METHODS`.
        percentile: For the method of that name.
    """
    graph = read_graph(content)
    indices = open_tensors(graph, recorded_ranges(content))
    histograms = {index: Histogram() for index in indices}
    for values in observed(content, graph, calibration(), indices):
        for index, seen in values.items():
            histograms[index].add(seen)
    return {
        index: choose_range(histogram, method, percentile=percentile)
        for index, histogram in histograms.items()
        if histogram.count
    }


def open_tensors(graph: Graph, recorded: Ranges) -> tuple[int, ...]:
    """Tensors with a recorded range that no training has fixed."""
    trained = {operator.outputs[0] for operator in graph.operators if operator.kind == "DEQUANTIZE"}
    return tuple(
        index
        for index in recorded
        if graph.tensors[index].dtype == "float32" and not graph.tensors[index].is_constant and index not in trained
    )


def empty_operators(graph: Graph, ranges: Ranges) -> tuple[str, ...]:
    """Outputs of operators that give nothing but zeros: in integers their scale would be one LiteRT cannot take."""
    names = []
    for operator in graph.operators:
        weights = [graph.tensors[index] for index in operator.inputs[1:2] if index >= 0]
        dead = operator.kind == "FULLY_CONNECTED" and any(w.data is not None and not w.data.any() for w in weights)
        still = any(max(map(abs, ranges.get(index, (1.0, 1.0)))) < NOTHING for index in operator.outputs)
        if dead or still:
            names += [graph.tensors[index].name for index in operator.outputs]
    return tuple(names)
