"""What TF-MOT's wrappers round in a click network: rules it does not ship."""

from __future__ import annotations

from typing import Any

from tfshop.compression._quantizers import HeldRange
from tfshop.compression._tfmot import QuantizeConfig, quantizers


class OutputRule(QuantizeConfig):
    """A layer without weights to round: its output gets a range.

    Args:
        follows: Whether the range follows the batches; else it stays as it was measured.
    """

    def __init__(self, *, follows: bool = True) -> None:
        self.follows = follows

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
        """One range for the whole output."""
        if not self.follows:
            return [HeldRange()]
        return [quantizers.MovingAverageQuantizer(num_bits=8, per_axis=False, symmetric=False, narrow_range=False)]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"follows": self.follows}


class DenseRule(OutputRule):
    """A Dense layer: the kernel symmetric with a scale for each output channel, as the exporter writes it.

    TF-MOT's own rule has one scale for all channels; a per-channel fake-quant on a kernel does not convert
    ("transpose has mismatched quantized axes"), which is why the trained model is frozen before the export. A
    BatchNormalization that the converter folds into the kernel scales whole channels, which changes no rounding.

    Args:
        kernel: How the kernel is rounded: None for 8 bits.
        with_output: Whether the output gets a range; not where a BatchNormalization behind it does, say.
        follows: As of `OutputRule`.
    """

    def __init__(self, kernel: Any = None, *, with_output: bool = True, follows: bool = True) -> None:
        super().__init__(follows=follows)
        self.kernel = kernel
        self.with_output = with_output

    def get_weights_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        """The kernel and its quantizer."""
        rule = quantizers.LastValueQuantizer(num_bits=8, per_axis=True, symmetric=True, narrow_range=True)
        return [(layer.kernel, self.kernel or rule)]

    def set_quantize_weights(self, layer: Any, quantize_weights: list[Any]) -> None:
        """Put the rounded kernel into the layer."""
        layer.kernel = quantize_weights[0]

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        """One range for the whole output, or none."""
        return super().get_output_quantizers(layer) if self.with_output else []

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "kernel": self.kernel, "with_output": self.with_output}
