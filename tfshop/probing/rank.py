"""A kernel of lower rank, as LowRank makes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tfshop.compression.low_rank import CONSTRAINED, ENERGY, FACTORABLE, is_constrained
from tfshop.compression.ranks import rank_of, ranks_by_energy
from tfshop.probing.change import Change
from tfshop.probing.material import Material
from tfshop.probing.technique import Technique, percent, require, require_usual


@dataclass(frozen=True)
class Rank(Technique):
    """The kernel's directions that give least are left out.

    Args:
        strengths: What is kept: ranks as whole numbers, or shares of the full rank as floats in (0, 1].
        by_energy: Whether the floats are shares of the energy instead.
        whiten: Whether directions count by what they give on training rows; else by the kernel's numbers.
        weigh: Whether they count by what they move the scores; shares of the energy never do.

    Example:
        >>> Rank((0.5,)).setting(0.5), Rank((8,)).setting(8)
        ('rank 50%', 'rank 8')
    """

    kind = "LowRank"

    strengths: tuple[float, ...] = (0.4, 0.25, 0.1)
    by_energy: bool = False
    whiten: bool = True
    weigh: bool = True

    def setting(self, strength: float) -> str:
        """What is kept."""
        if isinstance(strength, int):
            return f"rank {strength}"
        return f"{percent(strength)} of the energy" if self.by_energy else f"rank {percent(strength)}"

    def refuses(self, material: Material, layer: str, strength: float) -> str | None:
        """Layers that are no Dense, have a constraint, or whose two kernels would have more weights than the one."""
        if material.roles[layer] not in FACTORABLE or not material.is_dense(layer):
            return "only kernels of Dense layers with several outputs are factored"
        if is_constrained(material.model.get_layer(layer)):
            return CONSTRAINED
        kernel = material.factorable(layer)
        if strength == 1 and isinstance(strength, float):
            return None  # nothing is left out
        rank = self._rank(material, layer, strength)
        if kernel.pays(rank):
            return None
        weights = kernel.weights(rank), kernel.weights(None)
        return f"factoring does not pay: rank {rank} takes {weights[0]:,} weights, its kernel has {weights[1]:,}"

    def of(self, step: Any) -> Rank:
        """With the ranks or the energy of a LowRank."""
        require_usual(step, "a budget is shared out among all kernels", ("max_bytes", "max_multiplies"))
        by_energy = step.rank is None
        ranks = step.rank.values() if isinstance(step.rank, Mapping) else (step.rank,)
        strengths = (step.energy or ENERGY,) if by_energy else tuple(dict.fromkeys(ranks))
        return replace(self, strengths=strengths, by_energy=by_energy, whiten=step.whiten, weigh=step.weigh)

    def _details(self) -> tuple[str, ...]:
        details = {
            "energy": self.by_energy,
            "not whitened": not self.whiten,
            "not weighed": not (self.weigh or self.by_energy),
        }
        return tuple(name for name, is_so in details.items() if is_so)

    def _require(self, strength: float) -> None:
        is_rank = isinstance(strength, int) and not isinstance(strength, bool) and strength >= 1
        is_share = isinstance(strength, float) and 0 < strength <= 1
        expected = "a whole number, or a share of the full rank in (0, 1]"
        require(is_share or (is_rank and not self.by_energy), "rank", strength, expected, 0.25)

    def _rank(self, material: Material, layer: str, strength: float) -> int:
        kernel = material.factorable(layer)
        if not self.by_energy:
            return rank_of(kernel, strength)
        losses = material.spectrum(layer, whiten=self.whiten).losses
        return ranks_by_energy([replace(kernel, losses=losses)], strength)[layer]

    def _changed(self, material: Material, layer: str, strength: float) -> Change:
        """The product of the two kernels."""
        (name,) = material.kernels(layer)
        kernel = material.factorable(layer)
        rank = self._rank(material, layer, strength)
        if rank == kernel.full_rank:
            return Change({}, 0)
        weigh = self.weigh and not self.by_energy
        first, second = material.spectrum(layer, whiten=self.whiten, weigh=weigh).factors(rank)
        return Change(
            {name: first @ second},
            kernel.bytes(None) - kernel.bytes(rank),
            kernel.multiplies(None) - kernel.multiplies(rank),
        )
