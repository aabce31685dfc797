"""Zeros in a layer's kernels, as Prune makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfshop.compression.candidate import require_fraction
from tfshop.compression.importance import Importance, require_importance
from tfshop.compression.masks import Choice, Group, shares_below
from tfshop.compression.patterns import UNSTRUCTURED, Pattern
from tfshop.compression.thresholds import Threshold
from tfshop.probing.material import Material
from tfshop.probing.technique import SmallerDownload, Technique, Values, percent, require_usual, told


@dataclass(frozen=True)
class Asked:
    """Shares of zeros that one pass asks for.

    Attributes:
        sparsity: Of the layers that are not named.
        own: Layer or role, and its own share; a layer's name goes before its role.
    """

    sparsity: float
    own: tuple[tuple[str, float], ...] = ()

    def of(self, name: str, role: str) -> float:
        """What is asked of one layer."""
        own = dict(self.own)
        return own.get(name, own.get(role, self.sparsity))


@dataclass(frozen=True)
class Zeros(SmallerDownload):
    """The weights that matter least become zero.

    Bytes are saved in the gzipped download; multiplications are not.

    Args:
        strengths: Shares of zeros, in [0, 1); with a threshold, its values.
        importance: As in `weight_scores`.
        pattern: Where zeros may lie, as in `Prune`.
        threshold: Kind of a `Threshold`, where not a share of the weights goes but what lies below it.
        asked: What passes ask of which layer; empty for every strength on every layer.

    Example:
        >>> Zeros((0.8,)).setting(0.8)
        '80% zeros'
    """

    kind = "Prune"
    nothing = 0.0

    strengths: tuple[float, ...] = (0.5, 0.7, 0.8, 0.9, 0.95)
    importance: Importance = "magnitude"
    pattern: str = UNSTRUCTURED
    threshold: str | None = None
    asked: tuple[Asked, ...] = ()

    def __post_init__(self) -> None:
        require_importance(self.importance)
        Pattern.parse(self.pattern)
        super().__post_init__()

    def setting(self, strength: float) -> str:
        """Share of zeros."""
        if self.threshold is not None:
            return f"{strength:.4g} of the {self.threshold}"
        return f"{percent(strength)} zeros"

    def refuses(self, material: Material, layer: str, strength: float) -> str | None:
        """Kernels of which nobody knows which axis a pattern is laid along."""
        needs_matrix = Pattern.parse(self.pattern).needs_matrix
        if needs_matrix and not all(kernel.is_matrix for kernel in material.kernels(layer).values()):
            return f"it is not known which axis of its kernel is that of the inputs, which {self.pattern!r} needs"
        if self.asked and all(one.of(layer, material.roles[layer]) != strength for one in self.asked):
            return f"{self.setting(strength)} were not asked of it"
        return None

    def of(self, step: Any) -> Zeros:
        """With a Prune's importance, pattern, and its sparsities or the threshold in their place."""
        pattern, threshold = Pattern.parse(step.pattern), step.threshold
        require_usual(step, "each layer is pruned alone, by its scores", ("scope", "randomness"))
        asked = (Asked(step.sparsity, tuple((name, share or 0.0) for name, share in step.layers.items())),)
        strengths = tuple(dict.fromkeys((step.sparsity, *filter(None, step.layers.values()))))
        if pattern.share is not None:
            strengths = (pattern.share,)
        elif threshold is not None:
            strengths = (threshold.value,)
        return replace(
            self,
            strengths=strengths,
            importance=step.importance,
            pattern=step.pattern,
            threshold=None if threshold is None else threshold.kind,
            asked=asked if pattern.share is None and threshold is None else (),
        )

    def joined(self, other: Technique) -> Technique:
        """With what both ask of each layer."""
        both = super().joined(other)
        if not isinstance(both, Zeros) or not isinstance(other, Zeros) or not (self.asked or other.asked):
            return both
        return replace(both, asked=(*self._asked_of_all(), *other._asked_of_all()))

    def _asked_of_all(self) -> tuple[Asked, ...]:
        return self.asked or tuple(map(Asked, self.strengths))

    def _details(self) -> tuple[str, ...]:
        details = (
            "" if self.importance == "magnitude" else told(self.importance),
            "" if self.pattern == UNSTRUCTURED else self.pattern,
            "" if self.threshold is None else f"below {self.threshold}",
        )
        return tuple(filter(None, details))

    def _require(self, strength: float) -> None:
        if self.threshold is None:
            require_fraction("sparsity", strength)
        else:
            Threshold(self.threshold, strength)

    def _kernels(self, material: Material, layer: str, strength: float) -> Mapping[str, Values]:
        """Each kernel with zeros of its own; what is zero already goes first, as in `Prune`."""
        kernels, scores = material.kernels(layer), material.scores(layer, self.importance)
        matrices = {name: kernel.matrix(scores[name]) for name, kernel in kernels.items()}
        pattern = Pattern.parse(self.pattern)
        shares = dict.fromkeys(kernels, strength)
        if self.threshold is not None:
            shares = shares_below(Threshold(self.threshold, strength), matrices, pattern, together=False)
        for name, kernel in kernels.items():
            matrices[name] = np.where(kernel.matrix(kernel.variable.numpy()) != 0, matrices[name], -np.inf)
        masks = Choice([Group((name,), share) for name, share in shares.items()], pattern).masks(matrices)
        stays = {name: kernel.shaped(masks[name]) for name, kernel in kernels.items()}
        return {name: np.where(stays[name], kernel.variable.numpy(), np.float32(0)) for name, kernel in kernels.items()}
