"""Weights of layers other than Dense that the file has in int8, and how it rounds them there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfshop._keras import keras
from tfshop.compression._quantize_rules import OutputRule
from tfshop.compression._quantizers import ChannelScales, Grid, LearnedSteps, OneRange, OneScale
from tfshop.compression._tfmot import Quantizer
from tfshop.compression._tfmot_wrappers import RoundedLayer
from tfshop.layers.experts import ExpertKernels

INT8 = 8  # bits
_PROJECTIONS = ("_query_dense", "_key_dense", "_value_dense", "_output_dense")  # Keras has no public names


class WeightRule(OutputRule):
    """A layer with one weight that is rounded; its output gets a range elsewhere, if any.

    Args:
        attribute: Where the layer has the weight.
        quantizer: How it is rounded.
    """

    def __init__(self, attribute: str, quantizer: Quantizer) -> None:
        super().__init__()
        self.attribute = attribute
        self.quantizer = quantizer

    @property
    def grid(self) -> Grid:
        """Of the int8 numbers in the file."""
        return self.quantizer.grid if isinstance(self.quantizer, LearnedSteps) else self.quantizer

    def get_weights_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """The weight and its quantizer."""
        return [(getattr(layer, self.attribute), self.quantizer)]

    def set_quantize_weights(self, layer: Any, quantize_weights: list[Any]) -> None:
        """Put the rounded weight into the layer."""
        setattr(layer, self.attribute, quantize_weights[0])

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        """None."""
        return []

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"attribute": self.attribute, "quantizer": self.quantizer}


def weight_rule(layer: Any, bits: int = INT8) -> WeightRule | None:
    """The rule that rounds a layer's kernel or slopes as the file does; None for a layer that has none.

    A kernel that is multiplied as one matrix has a scale for each channel. One for every field or expert, a batch of
    matrices, has one range for all of them; the slopes of PReLU have one scale.

    Args:
        layer: Any layer.
        bits: Of kernels; below 8 they get learned steps, one for each scale or range. Slopes have 8.
    """
    if type(layer) is keras.layers.EinsumDense:
        return WeightRule("kernel", _of_kernel(_einsum_grid(layer.equation), bits))
    if type(layer) is ExpertKernels:
        return WeightRule("kernels", _of_kernel(OneRange(), bits))
    if type(layer) is keras.layers.PReLU:
        return WeightRule("alpha", OneScale())
    return None


def projections(layer: Any) -> Mapping[str, Any]:
    """The EinsumDense layers, or what stands for them, inside a MultiHeadAttention, by attribute; of others none.

    They are products with one matrix: `weight_rule` is theirs as of any other EinsumDense.
    """
    if type(layer) is not keras.layers.MultiHeadAttention:
        return {}
    return {attribute: getattr(layer, attribute) for attribute in _PROJECTIONS}


def round_projections(attention: Any, bits: int) -> None:
    """Let the kernels inside a MultiHeadAttention that nobody has called yet train with rounding."""
    for attribute, part in projections(attention).items():
        setattr(attention, attribute, RoundedLayer(part, weight_rule(part, bits), name=part.name))


def _of_kernel(grid: Grid, bits: int) -> Quantizer:
    return grid if bits == INT8 else LearnedSteps(bits, grid)


def _einsum_grid(equation: str) -> Grid:
    read, given = equation.replace(" ", "").replace("...", "").split("->")
    inputs, kernel = read.split(",")
    summed = [axis for axis, label in enumerate(kernel) if label in inputs and label not in given]
    is_batch = any(label in inputs and label in given for label in kernel)
    return OneRange() if is_batch else ChannelScales(tuple(summed))
