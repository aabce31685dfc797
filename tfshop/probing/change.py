"""What a technique puts in the place of one layer's weights and of the numbers around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop.numerics import Grid


@dataclass(frozen=True)
class Place:
    """A tensor that is rounded where a layer is int8.

    Attributes:
        tensor: Key, see `Graph`.
        is_read: Whether it is rounded as the layer reads it alone, rather than for all that read it.
    """

    tensor: str
    is_read: bool


@dataclass(frozen=True, eq=False)
class Change:
    """Other weights for one layer, and other numbers around it.

    Attributes:
        kernels: New values by the kernel's key, see `kernels_of`; kernels that stay are left out.
        bytes_saved: Of float32 weights.
        multiplies_saved: Multiplications a row.
        fixed: Units of a Dense layer that give the same for every row, by position.
        grids: What tensors are rounded to.
        network: One without some units, to be scored in the place of the one that is changed.
    """

    kernels: Mapping[str, NDArray[np.float32]]
    bytes_saved: int
    multiplies_saved: int = 0
    fixed: Mapping[int, float] = field(default_factory=dict)
    grids: Mapping[Place, Grid] = field(default_factory=dict)
    network: Any = None
