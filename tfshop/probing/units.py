"""Whole units of a layer gone, as PruneUnits removes them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfshop.compression.candidate import require_fraction
from tfshop.compression.importance import Importance, require_importance
from tfshop.compression.ranks import BYTES_A_WEIGHT
from tfshop.compression.roles import unwrapped
from tfshop.compression.units.scoring import Judge
from tfshop.errors import PlanError
from tfshop.probing.change import Change
from tfshop.probing.material import Material
from tfshop.probing.technique import Technique, percent, require_usual, told

ALONE = "each layer loses the same share of its units, alone"


@dataclass(frozen=True)
class Units(Technique):
    """The units that PruneUnits would take give their mean over training rows, whatever they read.

    A unit that gives the same for every row can be removed without any change: what it gives goes into the biases of
    whatever reads it. Only the layer's own weights count as saved; those that read it shrink as well.

    Args:
        strengths: Shares of the units that go, in [0, 1).
        importance: As in `weight_scores`.
        readers: Whether the weights that read a unit count beside those that make it.
        compensate: Whether units that go give their mean; else zero, as if nothing went into the biases behind.

    Example:
        >>> Units((0.25,)).setting(0.25)
        '25% of units gone'
    """

    kind = "PruneUnits"
    nothing = 0.0

    strengths: tuple[float, ...] = (0.25, 0.5, 0.75)
    importance: Importance = "magnitude"
    readers: bool = True
    compensate: bool = True

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
            return f"units of Dense layers alone are measured one layer at a time; this one has role {role!r}"
        width = material.factorable(layer).outputs
        return None if self._count(strength, width) < width else f"none of its {width} units would stay"

    def of(self, step: Any) -> Units:
        """With a PruneUnits' share and the way it judges units."""
        if step.importance == "batchnorm":
            raise PlanError(
                "sensitivity cannot choose units by 'batchnorm', which is no score of a layer's own weights. "
                "Expected an importance of weight_scores. Fix: PruneUnits(importance='magnitude')."
            )
        require_usual(step, ALONE, ("multiplies", "scope", "minimum", "multiple_of", "keep"))
        return replace(
            self, strengths=(step.share,), importance=step.importance, readers=step.readers, compensate=step.compensate
        )

    def _details(self) -> tuple[str, ...]:
        details = (
            "" if self.importance == "magnitude" else told(self.importance),
            "" if self.readers else "without readers",
            "" if self.compensate else "not compensated",
        )
        return tuple(filter(None, details))

    @staticmethod
    def _count(strength: float, width: int) -> int:
        """How many units go, rounded as PruneUnits rounds."""
        return int(strength * width + 0.5)

    def _require(self, strength: float) -> None:
        require_fraction("share", strength)

    def _changed(self, material: Material, layer: str, strength: float) -> Change:
        """The layer with so many units fixed at their mean."""
        kernel = material.factorable(layer)
        scores = material.unit_scores(layer, Judge(self.importance, self.readers))
        gone = np.argsort(scores, kind="stable")[: self._count(strength, kernel.outputs)]
        means = material.output_means(layer) if self.compensate else np.zeros(kernel.outputs)
        has_bias = bool(unwrapped(material.model.get_layer(layer)).use_bias)
        return Change(
            {},
            BYTES_A_WEIGHT * len(gone) * (kernel.inputs + has_bias),
            kernel.positions * len(gone) * kernel.inputs,
            {int(unit): float(means[unit]) for unit in gone},
        )
