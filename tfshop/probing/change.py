"""What a technique puts in the place of one layer's weights, and what a technique is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tfshop.probing.material import Material


@dataclass(frozen=True, eq=False)
class Change:
    """Other weights for one layer.

    Attributes:
        kernels: New values by the kernel's key, see `kernels_of`; kernels that stay are left out.
        bytes_saved: Of float32 weights.
        multiplies_saved: Multiplications a row.
        fixed: Units of a Dense layer that give the same for every row, by position.
    """

    kernels: Mapping[str, NDArray[np.float32]]
    bytes_saved: int
    multiplies_saved: int = 0
    fixed: Mapping[int, float] = field(default_factory=dict)


class Technique(Protocol):
    """A way to change one layer without training, in several strengths."""

    @property
    def name(self) -> str:
        """What tables call it; with settings that matter, so that two that differ have two names."""

    @property
    def strengths(self) -> tuple[float, ...]:
        """Those to try, from the mildest on."""

    def setting(self, strength: float) -> str:
        """A strength in words."""

    def refuses(self, material: Material, layer: str, strength: float) -> str | None:
        """Why it cannot treat a layer so; None where it can."""

    def change(self, material: Material, layer: str, strength: float) -> Change:
        """The layer's weights after it."""

    def of(self, step: Any) -> Technique:
        """The same with the settings of a pass."""
