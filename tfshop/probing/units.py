"""Whole units of a layer gone, as PruneUnits removes them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfshop.compression.candidate import require_fraction
from tfshop.compression.importance import Importance, require_importance
from tfshop.compression.ranks import BYTES_A_WEIGHT
from tfshop.compression.roles import unwrapped
from tfshop.errors import PlanError
from tfshop.probing.change import Change
from tfshop.probing.material import Material
from tfshop.probing.technique import Technique, percent, told


@dataclass(frozen=True)
class Units(Technique):
    """The units whose incoming weights matter least give their mean over training rows, whatever they read.

    A unit that gives the same for every row can be removed without any change: what it gives goes into the biases of
    whatever reads it. Only the layer's own weights count as saved; those that read it shrink as well.

    Args:
        strengths: Shares of the units that go, in [0, 1).
        importance: As in `weight_scores`.

    Example:
        >>> Units((0.25,)).setting(0.25)
        '25% of units gone'
    """

    kind = "PruneUnits"
    nothing = 0.0

    strengths: tuple[float, ...] = (0.25, 0.5, 0.75)
    importance: Importance = "magnitude"

    def __post_init__(self) -> None:
        require_importance(self.importance)
        super().__post_init__()

    def setting(self, strength: float) -> str:
        """Share of the units."""
        return f"{percent(strength)} of units gone"

    def refuses(self, material: Material, layer: str, strength: float) -> str | None:
        """Layers whose width is not their own affair."""
        role = material.roles[layer]
        if role != "dense" or not material.is_dense(layer):
            return f"the width of a layer with role {role!r} is not free"
        width = material.factorable(layer).outputs
        return None if round(strength * width) < width else f"none of its {width} units would stay"

    def of(self, step: Any) -> Units:
        """With the importance and the share of a PruneUnits; of one with a budget, with shares of its own."""
        if step.importance == "batchnorm":
            raise PlanError(
                "sensitivity cannot choose units by 'batchnorm', which is no score of a layer's own weights. "
                "Expected an importance of weight_scores. Fix: PruneUnits(importance='magnitude')."
            )
        strengths = self.strengths if step.multiplies is not None else (step.share,)
        return replace(self, strengths=strengths, importance=step.importance)

    def _details(self) -> tuple[str, ...]:
        return () if self.importance == "magnitude" else (told(self.importance),)

    def _require(self, strength: float) -> None:
        require_fraction("share", strength)

    def _changed(self, material: Material, layer: str, strength: float) -> Change:
        """The layer with so many units fixed at their mean."""
        kernel = material.factorable(layer)
        (scores,) = material.scores(layer, self.importance).values()
        gone = np.argsort(scores.sum(axis=0), kind="stable")[: round(strength * kernel.outputs)]
        means = material.output_means(layer)
        has_bias = bool(unwrapped(material.model.get_layer(layer)).use_bias)
        return Change(
            {},
            BYTES_A_WEIGHT * len(gone) * (kernel.inputs + has_bias),
            kernel.positions * len(gone) * kernel.inputs,
            {int(unit): float(means[unit]) for unit in gone},
        )
