"""Which layers are to be pruned, how far, and why others are not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tfshop.compression.importance import Importance, needs_moments
from tfshop.compression.kernels import kernel_variables, kernels_of
from tfshop.compression.left_alone import has_matrix
from tfshop.compression.patterns import Pattern
from tfshop.compression.roles import roles, unwrapped
from tfshop.errors import PlanError

PRUNABLE = ("dense", "cross", "table", "head", "other")


@dataclass(frozen=True)
class Wanted:
    """What a plan asks for.

    Attributes:
        roles: Layers by role.
        sparsity: Of those layers.
        overrides: Layer or role to its own sparsity; a layer's name goes before its role.
        importance: As in `weight_scores`.
        pattern: Where zeros may lie.
    """

    roles: tuple[str, ...]
    sparsity: float
    overrides: Mapping[str, float]
    importance: Importance
    pattern: Pattern

    def of(self, name: str, role: str) -> float | None:
        """Sparsity asked of a layer; None where it was not asked for."""
        own = self.overrides.get(name, self.overrides.get(role))
        return own if own is not None else self.sparsity if role in self.roles else None


@dataclass(frozen=True)
class Prunable:
    """Layers of one model.

    Attributes:
        sparsities: Layer to the sparsity it is to reach, in model order.
        reasons: Layer that was asked for and cannot be treated, to the reason.
    """

    sparsities: Mapping[str, float]
    reasons: Mapping[str, str]


def prunable(model: Any, wanted: Wanted) -> Prunable:
    """Match what is wanted with what a model has.

    Args:
        model: Functional model without submodels.
        wanted: As the plan says.

    Raises:
        PlanError: For an override that names no layer with a kernel and no role, and where nothing is left to prune.
    """
    played = roles(model)
    sparsities: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for name, role in played.items():
        sparsity = wanted.of(name, role)
        if sparsity is None or not model.get_layer(name).weights:
            continue
        reason = _obstacle(model, name, sparsity, wanted)
        if reason:
            reasons[name] = reason
        else:
            sparsities[name] = sparsity
    _require_known(wanted.overrides, model, played)
    if not sparsities:
        asked = sorted({*wanted.roles, *wanted.overrides})
        raise PlanError(
            f"Prune finds no layer to prune with role {', '.join(asked)} in {model.name!r}. Found roles: "
            f"{', '.join(sorted(set(played.values())))}{_first(reasons)}. Fix: Prune(roles=…) with another of "
            f"{', '.join(PRUNABLE)}, or leave Prune out."
        )
    return Prunable(sparsities, reasons)


def _obstacle(model: Any, name: str, sparsity: float, wanted: Wanted) -> str:
    """Why a layer that was asked for is left alone; empty where it is not."""
    bare = unwrapped(model.get_layer(name))
    kernels = kernels_of(model, [name]).values()
    if not kernels:
        if not has_matrix(bare):
            return "its weights are vectors, of which every number counts"
        kind = type(bare).__name__
        return f"Prune knows no kernel of {kind}; a layer names its own in get_prunable_weights()"
    if not sparsity:
        return "a sparsity of 0 was asked of it"
    if wanted.pattern.needs_matrix and not all(kernel.is_matrix for kernel in kernels):
        return "which axis of its kernels is that of the inputs is not known, as its pattern of zeros needs"
    if needs_moments(wanted.importance) and not all(kernel.axes for kernel in kernels):
        return "its kernels do not meet its float input, of which the importance takes the moments"
    return ""


def _require_known(overrides: Mapping[str, float], model: Any, played: Mapping[str, str]) -> None:
    known = {name for name in played if kernel_variables(model.get_layer(name))}
    strange = [name for name in overrides if name not in known and name not in PRUNABLE]
    if strange:
        raise PlanError(
            f"Prune(layers=…) names {strange[0]!r}, which is no layer of {model.name!r} with a kernel. Expected some "
            f"of {', '.join([*sorted(known)[:12], *PRUNABLE])}. Fix: correct the name."
        )


def _first(reasons: Mapping[str, str]) -> str:
    return "".join(f"; {name!r}: {reason}" for name, reason in list(reasons.items())[:1])
