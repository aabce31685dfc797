"""Weights in fewer bits, as QAT and the exporter round them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfshop.compression.ranks import BYTES_A_WEIGHT
from tfshop.errors import PlanError
from tfshop.numerics import symmetric
from tfshop.probing.change import Change
from tfshop.probing.material import Material

FLOAT_BITS = 32


@dataclass(frozen=True)
class Bits:
    """Each output channel is rounded to even levels around zero; each row of a table likewise.

    What the layer reads and gives stays in float32.

    Args:
        strengths: Bits of a weight, 2 to 16, or 32 for none at all.

    Example:
        >>> Bits((4,)).setting(4)
        '4 bits'
    """

    strengths: tuple[float, ...] = (8, 4, 2)

    name = "Quantize"

    def __post_init__(self) -> None:
        for bits in self.strengths:
            if bits != FLOAT_BITS and not (bits == int(bits) and 2 <= bits <= 16):  # noqa: PLR2004  (of integers)
                raise PlanError(f"bits is {bits!r}. Expected 2 to 16. Fix: bits=8.")

    def setting(self, strength: float) -> str:
        """How many bits."""
        return f"{strength:.0f} bits"

    def refuses(self, material: Material, layer: str, strength: float) -> str | None:
        """Nothing: any kernel can be rounded."""
        return None

    def change(self, material: Material, layer: str, strength: float) -> Change:
        """Each kernel rounded, channel by channel."""
        if strength == FLOAT_BITS:
            return Change({}, 0)
        channels = 0 if material.roles[layer] == "table" else 1
        made, saved = {}, 0
        for name, kernel in material.kernels(layer).items():
            matrix = kernel.matrix(kernel.variable.numpy())
            levels = symmetric(matrix, int(strength), axis=channels)
            made[name] = kernel.shaped(levels.fake_quantize(matrix).astype(np.float32))
            saved += int(matrix.size * (BYTES_A_WEIGHT - strength / 8)) - BYTES_A_WEIGHT * matrix.shape[channels]
        return Change(made, saved)

    def of(self, step: Any) -> Bits:
        """With the bits of a QAT, or of an exporter's integers."""
        mode = getattr(step, "mode", "int8")
        if mode.startswith("float"):
            raise PlanError(f"Export({mode!r}) rounds no weights to integers. Expected int8. Fix: leave it out.")
        return replace(self, strengths=(getattr(step, "bits", 8),))
