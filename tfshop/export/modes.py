"""The kinds of file an exporter can make, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Mode:
    """One kind of file.

    Attributes:
        name: As in `Export(name)`.
        summary: One line for a table.
        calibrates: Whether ranges are measured on training rows.
        integer_ends: Whether float inputs and outputs are int8 in the file.
        max_parity_gap: Largest difference of a probability between the Keras model and the file.
        mean_parity_gap: Largest mean difference.
        output_levels: How many scores the output can tell apart; None for a float.
    """

    name: str
    summary: str
    calibrates: bool
    integer_ends: bool
    max_parity_gap: float
    mean_parity_gap: float
    output_levels: int | None = None


MODES: Mapping[str, Mode] = MappingProxyType(
    {
        mode.name: mode
        for mode in (
            Mode("float32", "weights and arithmetic in float32", False, False, 1e-5, 1e-6),
            Mode("float16", "weights stored in float16, arithmetic in float32", False, False, 2e-2, 1e-3),
            Mode("dynamic", "weights in int8, activations quantized at run time", False, False, 0.5, 2e-2),
            Mode("int8", "weights and activations in int8; raw numbers and the head in float", True, False, 0.5, 2e-2),
            Mode(
                "int8_io",
                "as int8, with int8 numbers in and out, for hardware without floats",
                True,
                True,
                0.5,
                3e-2,
                output_levels=1 << 8,
            ),
            Mode("int16x8", "weights in int8, activations in int16", True, False, 0.2, 1e-2, output_levels=1 << 15),
        )
    }
)
