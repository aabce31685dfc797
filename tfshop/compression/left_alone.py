"""What a pass did not treat, and why: told in the report, never silently."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from tfshop.compression.roles import roles, unwrapped

MOST_SHOWN = 4
Reason = Callable[[Any, str], str]


def left_alone(model: Any, treated: Collection[str], *, by: str, reason: Reason) -> list[dict[str, str]]:
    """Every layer with weights that a pass did not treat, as plain data: layer, class, pass, reason.

    Args:
        model: Functional model without submodels.
        treated: Names of the layers the pass treated.
        by: Name of the pass.
        reason: Takes a layer and its role, says why the pass left it alone.
    """
    played: Mapping[str, str] = roles(model)
    rows = []
    for layer in model.layers:
        if layer.name not in treated and layer.weights:
            bare = unwrapped(layer)
            why = reason(bare, played[layer.name])
            rows.append({"layer": layer.name, "class": type(bare).__name__, "pass": by, "reason": why})
    return rows


def summary(rows: Iterable[Mapping[str, str]]) -> list[str]:
    """One line a pass and reason, the layers together."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        grouped.setdefault((row["pass"], row["reason"]), []).append(f"{row['layer']} ({row['class']})")
    return [f"{by} left alone {_listed(layers)}: {reason}" for (by, reason), layers in grouped.items()]


def _listed(layers: list[str]) -> str:
    shown = ", ".join(layers[:MOST_SHOWN])
    return f"{shown} and {len(layers) - MOST_SHOWN} more" if len(layers) > MOST_SHOWN else shown


def has_matrix(layer: Any) -> bool:
    """Whether any weight of a layer has two axes or more, so that there is something to compress."""
    return any(len(weight.shape) > 1 for weight in layer.weights)
