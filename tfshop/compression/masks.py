"""Which weights go: from scores and shares to masks of zeros and ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tfshop.compression.patterns import Pattern
from tfshop.compression.thresholds import Threshold

Matrices = Mapping[str, NDArray[np.float64]]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Group:
    """Kernels that share one threshold.

    Attributes:
        kernels: Their names.
        share: Of their weights together that go, in [0, 1).
    """

    kernels: tuple[str, ...]
    share: float


@dataclass(frozen=True)
class Choice:
    """How weights are chosen.

    Args:
        groups: Which kernels are compared with which, and how much of them goes.
        pattern: Where zeros may lie.
        randomness: 0 where the least important go; 1 where the chance to stay is in proportion to importance; in
            between, to a higher power of it.
        seed: Of the chances.

    References:
        Efraimidis & Spirakis, Weighted random sampling with a reservoir, 2006: the largest of `log(score) + Gumbel`
        are a sample without replacement.
    """

    groups: Sequence[Group]
    pattern: Pattern = field(default_factory=Pattern)
    randomness: float = 0.0
    seed: int = 0

    def masks(self, scores: Matrices, level: float = 1.0) -> dict[str, Mask]:
        """True where a weight stays.

        Args:
            scores: Score of each weight by kernel, (inputs, outputs); -inf for those that are gone already.
            level: Share of the way to the end, in [0, 1].
        """
        made: dict[str, Mask] = {}
        for group in self.groups:
            made.update(self._group({name: scores[name] for name in group.kernels}, level * group.share))
        return made

    def _group(self, scores: Matrices, share: float) -> dict[str, Mask]:
        pooled = {name: self.pattern.pooled(values) for name, values in scores.items()}
        keys = {name: self._keys(name, values) for name, (values, _) in pooled.items()}
        firm = {name: self.pattern.protected(values) for name, values in keys.items()}
        for name, values in keys.items():  # as TF-MOT does: one weight of a kernel stays, whatever it is compared with
            firm[name].flat[int(np.argmax(values))] = True
        loose = {name: ~held for name, held in firm.items()}
        order_by = np.concatenate([keys[name][loose[name]] for name in keys])
        sizes = np.concatenate([pooled[name][1][loose[name]] for name in keys])
        wanted = share * sum(values.size for values in scores.values())
        gone = _smallest(order_by, sizes, wanted)
        ends = np.cumsum([0, *(int(mask.sum()) for mask in loose.values())])
        made = {}
        for position, (name, mask) in enumerate(loose.items()):
            stays = np.ones(mask.shape, np.bool_)
            stays[mask] = ~gone[ends[position] : ends[position + 1]]
            made[name] = self.pattern.spread(stays, scores[name].shape)
        return made

    def _keys(self, name: str, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        if not self.randomness:
            return scores
        noise = np.random.default_rng([self.seed, *name.encode()]).gumbel(size=scores.shape)
        logarithms = np.log(np.maximum(scores, np.finfo(np.float64).tiny))  # a score of 0 is no sign of being gone
        return np.where(np.isneginf(scores), -np.inf, logarithms + self.randomness * noise)


def _smallest(values: NDArray[np.float64], sizes: NDArray[np.int64], wanted: float) -> Mask:
    """The smallest values, as many as come nearest to a number of weights together."""
    order = np.argsort(values, kind="stable")
    reached = np.concatenate([[0], np.cumsum(sizes[order])])
    count = int(np.argmin(np.abs(reached - wanted)))
    gone = np.zeros(values.shape, np.bool_)
    gone[order[:count]] = True
    return gone


def shares_below(threshold: Threshold, scores: Matrices, pattern: Pattern, *, together: bool) -> dict[str, float]:
    """Share of each kernel's weights that lie below a threshold; of all kernels, where they share one."""
    pooled = {name: pattern.pooled(values) for name, values in scores.items()}
    if together:
        limit = threshold.limit(np.concatenate([values.ravel() for values, _ in pooled.values()]))
        below = sum(int(sizes[values < limit].sum()) for values, sizes in pooled.values())
        return dict.fromkeys(pooled, below / sum(values.size for values in scores.values()))
    return {
        name: float(sizes[values < threshold.limit(values)].sum() / scores[name].size)
        for name, (values, sizes) in pooled.items()
    }
