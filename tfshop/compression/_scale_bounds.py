"""Constraints of weights that need not hold once the weights were scaled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop._keras import keras
from tfshop.compression._scale_paths import Path
from tfshop.compression.rebuild import KeepZeros

OF_A_SOURCE = ("kernel_constraint", "bias_constraint", "gamma_constraint", "beta_constraint")
OF_AN_ABSORBER = ("kernel_constraint",)  # its bias stays as it is


def bounds_of(path: Path, divided: Sequence[Any], model: Any) -> dict[str, str]:
    """Layers of a path that constraints keep as they are, to why; empty where every scale above zero may be put on it.

    Args:
        path: Where a scale comes out again.
        divided: Layers whose weights would be divided.
        model: Functional model without submodels.
    """
    absorbing = [model.get_layer(name) for name in path.absorbers]
    broken = {
        layer.name: constraint
        for layers, weights in ((divided, OF_A_SOURCE), (absorbing, OF_AN_ABSORBER))
        for layer in layers
        for constraint in weights
        if _breaks(getattr(layer, constraint, None))
    }
    if not broken:
        return {}
    first = next(iter(broken))
    others = f"{first!r} shares its scale and has a {broken[first]}"
    told = {
        layer.name: f"it has a {broken[layer.name]}" if layer.name in broken else others
        for layer in (*divided, *absorbing)
    }
    return {name: f"{why}, which scaled weights need not meet" for name, why in told.items()}


def _breaks(constraint: Any) -> bool:
    """Whether what meets a constraint need not meet it any more, times a number above zero."""
    if isinstance(constraint, KeepZeros):
        return _breaks(constraint.before)
    return constraint is not None and type(constraint) is not keras.constraints.NonNeg
