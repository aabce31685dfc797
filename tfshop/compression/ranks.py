"""How many directions of each kernel are kept: as given, by energy, or within a budget that all kernels share."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BYTES_A_WEIGHT = 4  # in float32, before the exporter chooses a format


@dataclass(frozen=True, eq=False)
class Factorable:
    """A kernel that two smaller ones could take the place of.

    Attributes:
        name: Of its layer.
        inputs: Rows.
        outputs: Columns.
        positions: How often a row of data meets it: more than once in shared layers and in layers over fields.
        losses: Share of the energy lost by rank, from rank 0 to the full one; empty where it is not known yet.
        harm: What a budget weighs: the cross-entropy expected to be lost by rank, or the losses where no score is
            asked.
    """

    name: str
    inputs: int
    outputs: int
    positions: int
    losses: NDArray[np.float64]
    harm: NDArray[np.float64]

    @property
    def full_rank(self) -> int:
        """Rank at which nothing is lost."""
        return min(self.inputs, self.outputs)

    @property
    def most_paying(self) -> int:
        """Largest rank whose two kernels have fewer weights than the one; 0 where none has."""
        return (self.inputs * self.outputs - 1) // (self.inputs + self.outputs)

    def pays(self, rank: int) -> bool:
        """Whether two kernels of that rank have fewer weights than the one."""
        return rank <= self.most_paying

    def weights(self, rank: int | None) -> int:
        """Weights of the two kernels; of the one, for None."""
        return self.inputs * self.outputs if rank is None else rank * (self.inputs + self.outputs)

    def bytes(self, rank: int | None) -> int:
        """Bytes in float32."""
        return BYTES_A_WEIGHT * self.weights(rank)

    def multiplies(self, rank: int | None) -> int:
        """Multiplications a row of data."""
        return self.positions * self.weights(rank)


Cost = Callable[[Factorable, int | None], int]


def rank_of(kernel: Factorable, rank: float) -> int:
    """A rank as given: a whole number, or a share of the full rank."""
    found = max(1, round(rank * kernel.full_rank)) if isinstance(rank, float) else int(rank)
    return min(found, kernel.full_rank)


def ranks_by_energy(kernels: Sequence[Factorable], energy: float) -> dict[str, int]:
    """The smallest rank of each kernel that keeps so large a share of its energy."""
    return {k.name: max(1, int(np.argmax(k.losses <= 1 - energy + 1e-12))) for k in kernels}


def ranks_within(kernels: Sequence[Factorable], budget: float, cost: Cost) -> dict[str, int | None]:
    """Ranks that lose least for a budget, by marginal loss: the next direction is the one that saves most for its cost.

    Every kernel begins with rank 1, or whole where that costs less. Behind its last rank that pays it is taken whole.

    Args:
        kernels: With what each rank would harm.
        budget: Of all kernels together.
        cost: Of a kernel at a rank; at None, whole.

    Returns:
        Layer name to rank; None for a kernel that is kept whole.
    """
    ranks: dict[str, int | None] = {k.name: 1 if k.pays(1) else None for k in kernels}
    spent = sum(cost(k, ranks[k.name]) for k in kernels)
    waiting = [_step(k, 1, cost) for k in kernels if k.pays(1)]
    heapq.heapify(waiting)
    by_name = {k.name: k for k in kernels}
    while waiting:
        _, name, following, price = heapq.heappop(waiting)
        if spent + price > budget:
            continue  # a direction of a smaller kernel may still fit
        spent += price
        ranks[name] = following
        if following is not None:
            heapq.heappush(waiting, _step(by_name[name], following, cost))
    return ranks


def least_cost(kernels: Sequence[Factorable], cost: Cost) -> int:
    """What the kernels cost at the smallest: rank 1, or whole where that is less."""
    return sum(cost(k, 1 if k.pays(1) else None) for k in kernels)


def whole_cost(kernels: Sequence[Factorable], cost: Cost) -> int:
    """What the kernels cost now."""
    return sum(cost(k, None) for k in kernels)


def left_whole(kernel: Factorable, ranks: Mapping[str, int | None]) -> str | None:
    """Why a kernel is not factored; None where it is."""
    if kernel.name not in ranks:
        return "LowRank was given no rank for it"
    rank = ranks[kernel.name]
    if rank is None:
        if not kernel.pays(1):
            return f"two kernels of any rank have more weights than its {kernel.weights(None):,}"
        return "the budget pays for its whole kernel"
    if not kernel.pays(rank):
        return (
            f"factoring does not pay: rank {rank} would take {kernel.weights(rank):,} weights, its kernel has "
            f"{kernel.weights(None):,}"
        )
    return None


def _step(kernel: Factorable, rank: int, cost: Cost) -> tuple[float, str, int | None, int]:
    """The next direction of a kernel, by what a unit of cost saves (negative: the heap gives the smallest first)."""
    following = rank + 1 if kernel.pays(rank + 1) else None
    price = cost(kernel, following) - cost(kernel, rank)
    saved = kernel.harm[rank] - (0.0 if following is None else kernel.harm[following])
    return -saved / price, kernel.name, following, price
