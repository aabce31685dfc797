"""Bias correction: what a product is off on average goes into its bias."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tfshop._console import progress
from tfshop.export.settings import Batches
from tfshop.runtime.editing import with_constants
from tfshop.runtime.graph import Graph, Operator, read_graph
from tfshop.runtime.observer import observed

PRODUCT = "FULLY_CONNECTED"
BIAS = 2  # position among the inputs of a product
LEAST_ACTIVE = 0.2
Means = dict[int, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Product:
    """A product of the quantized file, and the tensor that has the same name in the float graph.

    Attributes:
        name: Of the output.
        output: Tensor of the quantized file.
        original: Tensor of the float graph.
        bias: Tensor of the quantized file.
    """

    name: str
    output: int
    original: int
    bias: int


@dataclass(frozen=True)
class Correction:
    """How far one output was off on average, over its channels.

    Attributes:
        name: Of the output.
        before: Mean absolute shift.
        after: Likewise, after the correction.
    """

    name: str
    before: float
    after: float


def correct_biases(original: bytes, content: bytes, calibration: Batches) -> tuple[bytes, tuple[Correction, ...]]:
    r"""Move the biases of the quantized products so that their outputs have the mean they had in float.

    Layer by layer, each with the layers before it corrected: b := b - (E[y_q] - E[y]). Where an activation is fused
    into the product, only the share of outputs that it lets through moves with the bias, and the step is the larger.
    A correction that does not bring the mean nearer is taken back.

    Args:
        original: The calibrated float graph.
        content: What the quantizer made of it.
        calibration: Batches of inputs.

    Returns:
        The corrected file, one row a product with a bias of its own.

    References:
        Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019 (empirical
        bias correction).
    """
    reference, graph = read_graph(original), read_graph(content)
    products = _products(reference, graph)
    goals = _means(original, reference, calibration, [product.original for product in products])[0]
    rows = []
    with progress("correcting biases", len(products)) as advance:
        for product in products:
            content, row = _corrected(content, graph, product, goals[product.original], calibration)
            rows.append(row)
            advance()
    return content, tuple(rows)


def _corrected(
    content: bytes, graph: Graph, product: Product, goal: NDArray[np.float64], calibration: Batches
) -> tuple[bytes, Correction]:
    means, active = _means(content, graph, calibration, [product.output])
    shift = means[product.output] - goal
    before = float(np.abs(shift).mean())
    moved = _moved_bias(content, product.bias, -shift / np.maximum(active[product.output], LEAST_ACTIVE))
    again = _means(moved, graph, calibration, [product.output])[0][product.output] - goal
    after = float(np.abs(again).mean())
    return (
        (moved, Correction(product.name, before, after))
        if after < before
        else (
            content,
            Correction(product.name, before, before),
        )
    )


def _moved_bias(content: bytes, index: int, step: NDArray[np.float64]) -> bytes:
    bias = read_graph(content).tensors[index]
    stored = bias.stored()
    if bias.scales is None:
        return with_constants(content, {index: (stored + step).astype(stored.dtype)})
    limits = np.iinfo(stored.dtype)
    levels = np.clip(np.round(stored + step / bias.scales), limits.min, limits.max)
    return with_constants(content, {index: levels.astype(stored.dtype)})


def _products(reference: Graph, graph: Graph) -> list[Product]:
    """Products with a bias that nothing else reads, in order of execution."""
    originals = {tensor.name: tensor.index for tensor in reference.tensors if not tensor.is_constant}
    buffers = [tensor.buffer for tensor in graph.tensors if tensor.is_constant]
    found = []
    for operator in graph.operators:
        name = graph.tensors[operator.outputs[0]].name
        if _has_own_bias(graph, operator, buffers) and name in originals:
            found.append(Product(name, operator.outputs[0], originals[name], operator.inputs[BIAS]))
    return found


def _has_own_bias(graph: Graph, operator: Operator, buffers: Sequence[int]) -> bool:
    if operator.kind != PRODUCT or len(operator.inputs) <= BIAS or operator.inputs[BIAS] < 0:
        return False
    bias = graph.tensors[operator.inputs[BIAS]]
    return bias.is_constant and buffers.count(bias.buffer) == 1 and len(graph.consumers[bias.index]) == 1


def _means(content: bytes, graph: Graph, calibration: Batches, indices: Sequence[int]) -> tuple[Means, Means]:
    """Mean of each channel, and the share of its values above its lowest where an activation cut it off."""
    sums: Means = {index: np.zeros(graph.tensors[index].shape[-1]) for index in indices}
    active: Means = {index: np.zeros(graph.tensors[index].shape[-1]) for index in indices}
    counts = dict.fromkeys(indices, 0)
    for values in observed(content, graph, calibration(), indices):
        for index, seen in values.items():
            rows = seen.reshape(-1, seen.shape[-1]).astype(np.float64)
            sums[index] += rows.sum(axis=0)
            active[index] += (rows != 0).sum(axis=0)
            counts[index] += len(rows)
    return (
        {index: total / max(counts[index], 1) for index, total in sums.items()},
        {index: total / max(counts[index], 1) for index, total in active.items()},
    )
