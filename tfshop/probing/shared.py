"""Few distinct numbers in a layer's kernels, as Cluster shares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tfshop.compression.cluster import Cluster
from tfshop.probing.material import Material
from tfshop.probing.technique import SmallerDownload, Values


@dataclass(frozen=True)
class Shared(SmallerDownload):
    """The weights of each kernel share a few numbers, those that Cluster begins its training with.

    Bytes are saved in the gzipped download; multiplications are not.

    Args:
        strengths: How many numbers, 3 … 256.
        initialization: Where they start, as in `Cluster`.

    Example:
        >>> Shared((16,)).setting(16)
        '16 values'
    """

    kind = "Cluster"

    strengths: tuple[float, ...] = (64, 16, 4)
    initialization: str = Cluster.initialization

    def setting(self, strength: float) -> str:
        """How many numbers."""
        return f"{strength:.0f} values"

    def refuses(self, material: Material, layer: str, strength: float) -> str | None:
        """Layers that Cluster leaves alone."""
        return self._step(strength).obstacle(material.model.get_layer(layer), material.model) or None

    def of(self, step: Any) -> Shared:
        """With the number of a Cluster."""
        return replace(self, strengths=(step.clusters,), initialization=step.initialization)

    def _details(self) -> tuple[str, ...]:
        return () if self.initialization == Cluster.initialization else (self.initialization,)

    def _require(self, strength: float) -> None:
        self._step(strength)

    def _kernels(self, material: Material, layer: str, strength: float) -> Mapping[str, Values]:
        held = material.model.get_layer(layer)
        weights = self._step(strength).first_weights(held, material.model)
        found = {id(variable): values for variable, values in zip(held.weights, weights, strict=True)}
        return {name: found[id(kernel.variable)] for name, kernel in material.kernels(layer).items()}

    def _step(self, strength: float) -> Cluster:
        """The pass, which refuses what is out of range."""
        whole = int(strength) if strength == int(strength) else strength
        return Cluster(whole, self.initialization)  # type: ignore[arg-type]
