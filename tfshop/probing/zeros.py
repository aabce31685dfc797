"""Zeros in a layer's kernels, as Prune makes them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfshop.compression.candidate import require_fraction
from tfshop.compression.importance import Importance, require_importance
from tfshop.compression.masks import Choice, Group
from tfshop.compression.ranks import BYTES_A_WEIGHT
from tfshop.probing.change import Change
from tfshop.probing.material import Material


@dataclass(frozen=True)
class Zeros:
    """The weights that matter least become zero.

    Bytes are saved in the download, where the places of the zeros cost their entropy; multiplications are not.

    Args:
        strengths: Shares of zeros, in [0, 1).
        importance: As in `weight_scores`.

    Example:
        >>> Zeros((0.8,)).setting(0.8)
        '80% zeros'
    """

    strengths: tuple[float, ...] = (0.5, 0.7, 0.8, 0.9, 0.95)
    importance: Importance = "magnitude"

    def __post_init__(self) -> None:
        require_importance(self.importance)
        for strength in self.strengths:
            require_fraction("sparsity", strength)

    @property
    def name(self) -> str:
        """With the importance, where it is not the usual one."""
        if self.importance == "magnitude":
            return "Prune"
        called = self.importance if isinstance(self.importance, str) else self.importance.__qualname__
        return f"Prune ({called})"

    def setting(self, strength: float) -> str:
        """Share of zeros."""
        return f"{strength:.4g} zeros" if strength * 100 % 1 else f"{strength:.0%} zeros"

    def refuses(self, material: Material, layer: str, strength: float) -> str | None:
        """Nothing: any kernel can have zeros."""
        return None

    def change(self, material: Material, layer: str, strength: float) -> Change:
        """Each kernel with so many zeros of its own."""
        scores = material.scores(layer, self.importance)
        kernels = material.kernels(layer)
        matrices = {name: kernel.matrix(scores[name]) for name, kernel in kernels.items()}
        masks = Choice([Group((name,), strength) for name in kernels]).masks(matrices)
        made, saved = {}, 0
        for name, kernel in kernels.items():
            made[name] = kernel.variable.numpy() * kernel.shaped(masks[name])
            saved += _bytes_saved(made[name].size, int(np.count_nonzero(made[name] == 0)))
        return Change(made, saved)

    def of(self, step: Any) -> Zeros:
        """With a Prune's importance, and its sparsity where no threshold takes its place."""
        strengths = (step.sparsity,) if step.threshold is None else self.strengths
        return replace(self, strengths=strengths, importance=step.importance)


def _bytes_saved(size: int, zeros: int) -> int:
    """What zeros save once it is written down where they are."""
    share = zeros / size
    entropy = -sum(p * math.log2(p) for p in (share, 1 - share) if p > 0)
    return max(0, int(BYTES_A_WEIGHT * zeros - size * entropy / 8))
