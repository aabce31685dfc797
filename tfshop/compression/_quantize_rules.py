"""What TF-MOT's wrappers round in a click network: rules it does not ship."""

from __future__ import annotations

from typing import Any

from tfshop.compression._tfmot import QuantizeConfig, quantizers


class OutputRule(QuantizeConfig):
    """A layer without weights to round: its output gets a moving range."""

    def get_weights_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """No weights."""
        return []

    def get_activations_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """None: the output is rounded after the activation, whichever it is."""
        return []

    # AutoGraph cannot parse a body that is a docstring alone, hence the returns.
    def set_quantize_weights(self, layer: Any, quantize_weights: list[Any]) -> None:
        """No weights to set."""
        return

    def set_quantize_activations(self, layer: Any, quantize_activations: list[Any]) -> None:
        """No activations to set."""
        return

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        """A range that follows the batches."""
        return [quantizers.MovingAverageQuantizer(num_bits=8, per_axis=False, symmetric=False, narrow_range=False)]

    def get_config(self) -> dict[str, Any]:
        """Nothing to configure."""
        return {}


class DenseRule(OutputRule):
    """A Dense layer: the kernel symmetric with a scale for each output channel, as the exporter writes it.

    TF-MOT's own rule has one scale for all channels; a per-channel fake-quant on a kernel does not convert
    ("transpose has mismatched quantized axes"), which is why the trained model is frozen before the export.

    Args:
        with_output: Whether the output gets a range; not where a BatchNormalization behind it does.
    """

    def __init__(self, *, with_output: bool = True) -> None:
        self.with_output = with_output

    def get_weights_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """The kernel and its quantizer."""
        rule = quantizers.LastValueQuantizer(num_bits=8, per_axis=True, symmetric=True, narrow_range=True)
        return [(layer.kernel, rule)]

    def set_quantize_weights(self, layer: Any, quantize_weights: list[Any]) -> None:
        """Put the rounded kernel into the layer."""
        layer.kernel = quantize_weights[0]

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        """A range that follows the batches, or none."""
        return super().get_output_quantizers(layer) if self.with_output else []

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"with_output": self.with_output}
