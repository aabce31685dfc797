"""Weights of layers other than Dense that the file has in int8, and how it rounds them there."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras
from tfshop.compression._quantize_rules import OutputRule
from tfshop.compression._quantizers import ChannelScales, OneRange, OneScale
from tfshop.compression._tfmot import Quantizer
from tfshop.layers.experts import ExpertKernels


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


def weight_rule(layer: Any) -> WeightRule | None:
    """The rule that rounds a layer's kernel or slopes as the file does; None for a layer that has none.

    A kernel that is multiplied as one matrix has a scale for each channel. One for every field or expert, a batch of
    matrices, has one range for all of them; the slopes of PReLU have one scale.
    """
    if type(layer) is keras.layers.EinsumDense:
        return WeightRule("kernel", _einsum_quantizer(layer.equation))
    if type(layer) is ExpertKernels:
        return WeightRule("kernels", OneRange())
    if type(layer) is keras.layers.PReLU:
        return WeightRule("alpha", OneScale())
    return None


def _einsum_quantizer(equation: str) -> Quantizer:
    read, given = equation.replace(" ", "").replace("...", "").split("->")
    inputs, kernel = read.split(",")
    summed = [axis for axis, label in enumerate(kernel) if label in inputs and label not in given]
    is_batch = any(label in inputs and label in given for label in kernel)
    return OneRange() if is_batch else ChannelScales(tuple(summed))
