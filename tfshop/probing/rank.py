"""A kernel of lower rank, as LowRank makes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tfshop.compression.low_rank import FACTORABLE
from tfshop.compression.ranks import rank_of
from tfshop.errors import PlanError
from tfshop.probing.change import Change
from tfshop.probing.material import Material


@dataclass(frozen=True)
class Rank:
    """The kernel's directions that give least on training rows are left out.

    Args:
        strengths: Shares of the full rank that are kept, in (0, 1].

    Example:
        >>> Rank((0.5,)).setting(0.5)
        'rank 50%'
    """

    strengths: tuple[float, ...] = (0.4, 0.25, 0.1)

    name = "LowRank"

    def __post_init__(self) -> None:
        for strength in self.strengths:
            if not 0 < strength <= 1:
                raise PlanError(f"rank is {strength!r}. Expected a share of the full rank in (0, 1]. Fix: rank=0.25.")

    def setting(self, strength: float) -> str:
        """Share of the full rank."""
        return f"rank {strength:.0%}"

    def refuses(self, material: Material, layer: str, strength: float) -> str | None:
        """Layers that are no Dense, and those whose two kernels would have more weights than the one."""
        if material.roles[layer] not in FACTORABLE or not material.is_dense(layer):
            return "only kernels of Dense layers with several outputs are factored"
        kernel = material.factorable(layer)
        rank = rank_of(kernel, float(strength))
        if strength == 1 or kernel.pays(rank):
            return None
        weights = kernel.weights(rank), kernel.weights(None)
        return f"factoring does not pay: rank {rank} takes {weights[0]:,} weights, its kernel has {weights[1]:,}"

    def change(self, material: Material, layer: str, strength: float) -> Change:
        """The product of the two kernels."""
        (name,) = material.kernels(layer)
        kernel = material.factorable(layer)
        rank = rank_of(kernel, float(strength))
        if rank == kernel.full_rank:
            return Change({}, 0)
        first, second = material.spectrum(layer).factors(rank)
        return Change(
            {name: first @ second},
            kernel.bytes(None) - kernel.bytes(rank),
            kernel.multiplies(None) - kernel.multiplies(rank),
        )

    def of(self, step: Any) -> Rank:
        """With the rank of a LowRank where it is a share; else with ranks of its own."""
        return replace(self, strengths=(step.rank,)) if isinstance(step.rank, float) else self
