"""A layer in fewer bits, as the exporter rounds its weights and what goes in and out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from tfshop.compression.ranks import BYTES_A_WEIGHT
from tfshop.errors import PlanError
from tfshop.export import Export
from tfshop.numerics import symmetric
from tfshop.probing.change import Change
from tfshop.probing.material import Material
from tfshop.probing.technique import Technique, require, require_usual

FLOAT_BITS = 32
# Of activations; "dynamic" chooses the ranges of what is read anew for each row, and gives floats.
ACTIVATION_BITS: Mapping[str, int] = MappingProxyType({"int8": 8, "int8_io": 8, "int16x8": 16})


@dataclass(frozen=True)
class Bits(Technique):
    """Each output channel is rounded to even levels around zero; each row of a table likewise.

    What the layer reads and gives is rounded to the levels of the exporter's mode, one range a tensor, measured on
    the exporter's calibration rows ("recorded" ranges from lowest to highest); not what passes inside of attention
    and other layers of several steps. Tables are looked up in float. Layers that the file has in float, as the head,
    are left alone.

    Args:
        strengths: Bits of a weight, 2 to 16, or 32 for nothing rounded at all.
        exporter: Whose rounding it is: `Export("dynamic")` rounds weights alone.

    Example:
        >>> Bits((4,)).setting(4), Bits((8,), Export("int8", ranges="mse")).name
        ('4 bits', 'Quantize (ranges mse)')
    """

    kind = "Quantize"
    nothing = float(FLOAT_BITS)

    strengths: tuple[float, ...] = (8, 4, 2)
    exporter: Export = field(default_factory=Export)

    def __post_init__(self) -> None:
        if self.exporter.mode.startswith("float"):
            raise PlanError(
                f"Export({self.exporter.mode!r}) rounds no weights to integers. Expected int8. Fix: leave it out."
            )
        super().__post_init__()

    def setting(self, strength: float) -> str:
        """How many bits."""
        return f"{strength:.0f} bits"

    def refuses(self, material: Material, layer: str, strength: float) -> str | None:
        """Layers that the file has in float."""
        if layer in self.exporter.keep_float:
            return "the exporter was told to keep it in float"
        return material.in_float.get(layer) if self.exporter.mode == "int8" else None

    def of(self, step: Any) -> Bits:
        """With the bits of a QAT, or an exporter's mode and ranges."""
        if not isinstance(step, Export):
            require_usual(step, "ranges are those of an exporter", ("percentile",))
            return replace(self, strengths=(step.bits,))
        require_usual(step, "one layer is rounded at a time, and nothing else", ("mixed", "bias_correction"))
        return replace(self, strengths=(8,), exporter=replace(step, strip=False, int4=False))

    def _details(self) -> tuple[str, ...]:
        usual = Export()
        found = {item.name: getattr(self.exporter, item.name) for item in fields(usual)}
        return tuple(
            value if name == "mode" else f"{name} {', '.join(value) if isinstance(value, tuple) else value}"
            for name, value in found.items()
            if value != getattr(usual, name)
        )

    def _require(self, strength: float) -> None:
        is_known = strength == FLOAT_BITS or (strength == int(strength) and 2 <= strength <= 16)  # noqa: PLR2004
        require(is_known, "bits", strength, "2 to 16", 8)

    def _changed(self, material: Material, layer: str, strength: float) -> Change:
        """Each kernel rounded, channel by channel, and the tensors around the layer."""
        channels = 0 if material.roles[layer] == "table" else 1
        made, saved = {}, 0
        for name, kernel in material.kernels(layer).items():
            matrix = kernel.matrix(kernel.variable.numpy())
            levels = symmetric(matrix, int(strength), axis=channels)
            made[name] = kernel.shaped(levels.fake_quantize(matrix).astype(np.float32))
            saved += int(matrix.size * (BYTES_A_WEIGHT - strength / 8)) - BYTES_A_WEIGHT * matrix.shape[channels]
        activation_bits = ACTIVATION_BITS.get(self.exporter.mode)
        grids = {} if activation_bits is None else material.grids(layer, self.exporter, activation_bits)
        return Change(made, saved, grids=grids)
