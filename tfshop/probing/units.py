"""Whole units of a layer gone, as PruneUnits removes them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfshop.compression.candidate import require_fraction
from tfshop.compression.importance import Importance, require_importance
from tfshop.compression.ranks import BYTES_A_WEIGHT
from tfshop.compression.units.scoring import Judge
from tfshop.errors import PlanError
from tfshop.probing.change import Change
from tfshop.probing.material import Material
from tfshop.probing.technique import Technique, percent, require_usual, told
from tfshop.probing.unit_groups import UnitGroups

ALONE = "each layer loses the same share of its units, alone"


@dataclass(frozen=True)
class Units(Technique):
    """The units that PruneUnits would take from one layer are gone: neurons, ranks, maps, heads, experts.

    Where Dense layers with biases alone read a unit, it gives its mean over training rows, which is as good as gone:
    what it gives goes into these biases. Elsewhere the network is rebuilt without it and run as a whole. What several
    layers make together, such as a head with its query, key and value, goes from all of them, and is measured by the
    first of these layers. Weights that make units and weights that read them count as saved.

    Args:
        strengths: Shares of the units that go, in [0, 1).
        importance: As in `weight_scores`.
        readers: Whether the weights that read a unit count beside those that make it.
        minimum: Units that stay of each layer; of heads and experts one does.
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
    minimum: int = 4

    def __post_init__(self) -> None:
        require_importance(self.importance)
        super().__post_init__()

    def setting(self, strength: float) -> str:
        """Share of the units."""
        return f"{percent(strength)} of units gone"

    def refuses(self, material: Material, layer: str, strength: float) -> str | None:
        """Layers whose units all stay, or go with those of another layer."""
        found = self._groups(material)
        own = found.of(layer)
        if not own:
            return found.why_none(layer)
        if strength == self.nothing or found.may_go(layer, strength, self.minimum):
            return None
        units = " and ".join(f"{len(group.atoms)} {group.kind}{'s' * (len(group.atoms) > 1)}" for group in own)
        return f"it has {units}, of which none can go at {percent(strength)}"

    def of(self, step: Any) -> Units:
        """With a PruneUnits' share and the way it judges units."""
        if step.importance == "batchnorm":
            raise PlanError(
                "sensitivity cannot choose units by 'batchnorm', which is no score of a layer's own weights. "
                "Expected an importance of weight_scores. Fix: PruneUnits(importance='magnitude')."
            )
        require_usual(step, ALONE, ("multiplies", "scope", "multiple_of", "keep"))
        taken = ("importance", "readers", "compensate", "minimum")
        return replace(self, strengths=(step.share,), **{name: getattr(step, name) for name in taken})

    def _details(self) -> tuple[str, ...]:
        details = (
            "" if self.importance == "magnitude" else told(self.importance),
            "" if self.readers else "without readers",
            "" if self.compensate else "not compensated",
            "" if self.minimum == type(self).minimum else f"at least {self.minimum}",
        )
        return tuple(filter(None, details))

    def _groups(self, material: Material) -> UnitGroups:
        return material.unit_groups(Judge(self.importance, self.readers))

    def _require(self, strength: float) -> None:
        require_fraction("share", strength)

    def _changed(self, material: Material, layer: str, strength: float) -> Change:
        """The layer with so many units fixed at their mean, or the network without them."""
        found = self._groups(material)
        removed = found.gone(layer, strength, self.minimum)
        saved = BYTES_A_WEIGHT * found.weights_gone(removed), found.multiplications_gone(removed)
        if not (found.makes_alone(layer) and material.takes_means(layer)):
            return Change({}, *saved, network=found.network(removed, compensated=self.compensate))
        means = material.output_means(layer) if self.compensate else np.zeros(material.factorable(layer).outputs)
        return Change({}, *saved, {unit: float(means[unit]) for unit in found.positions(layer, removed)})
