"""Whole units of a layer gone, as PruneUnits removes them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfshop.compression.candidate import require_fraction
from tfshop.compression.ranks import BYTES_A_WEIGHT
from tfshop.compression.roles import unwrapped
from tfshop.probing.change import Change
from tfshop.probing.material import Material


@dataclass(frozen=True)
class Units:
    """The units with the smallest incoming weights give their mean over training rows, whatever they read.

    A unit that gives the same for every row can be removed without any change: what it gives goes into the biases of
    whatever reads it. Only the layer's own weights count as saved; those that read it shrink as well.

    Args:
        strengths: Shares of the units that go, in [0, 1).

    Example:
        >>> Units((0.25,)).setting(0.25)
        '25% of units gone'
    """

    strengths: tuple[float, ...] = (0.25, 0.5, 0.75)

    name = "PruneUnits"

    def __post_init__(self) -> None:
        for strength in self.strengths:
            require_fraction("share", strength)

    def setting(self, strength: float) -> str:
        """Share of the units."""
        return f"{strength:.0%} of units gone"

    def refuses(self, material: Material, layer: str, strength: float) -> str | None:
        """Layers whose width is not their own affair."""
        role = material.roles[layer]
        if role != "dense" or not material.is_dense(layer):
            return f"the width of a layer with role {role!r} is not free"
        width = material.factorable(layer).outputs
        return None if round(strength * width) < width else f"none of its {width} units would stay"

    def change(self, material: Material, layer: str, strength: float) -> Change:
        """The layer with so many units fixed at their mean."""
        kernel = material.factorable(layer)
        (scores,) = material.scores(layer, "magnitude").values()
        gone = np.argsort(scores.sum(axis=0), kind="stable")[: round(strength * kernel.outputs)]
        means = material.output_means(layer)
        has_bias = bool(unwrapped(material.model.get_layer(layer)).use_bias)
        return Change(
            {},
            BYTES_A_WEIGHT * len(gone) * (kernel.inputs + has_bias),
            kernel.positions * len(gone) * kernel.inputs,
            {int(unit): float(means[unit]) for unit in gone},
        )

    def of(self, step: Any) -> Units:
        """With the share of a PruneUnits; of one with a budget, with shares of its own."""
        return self if getattr(step, "multiplies", None) is not None else replace(self, strengths=(step.share,))
