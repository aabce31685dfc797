"""The techniques that sensitivity is measured for, and which of them a pass stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from tfshop.errors import PlanError
from tfshop.export import Plan
from tfshop.probing.bits import Bits
from tfshop.probing.change import Technique
from tfshop.probing.rank import Rank
from tfshop.probing.units import Units
from tfshop.probing.zeros import Zeros

TECHNIQUES: Mapping[str, Technique] = MappingProxyType(
    {"Prune": Zeros(), "PruneUnits": Units(), "LowRank": Rank(), "Quantize": Bits()}
)
STAND_FOR: Mapping[str, str] = MappingProxyType({"QAT": "Quantize", "Export": "Quantize"})
KINDS = (Zeros, Units, Rank, Bits)


def techniques_of(passes: Any = None) -> tuple[Technique, ...]:
    """Techniques as they are asked for.

    Args:
        passes: None for all; else names of techniques, passes such as `Prune(0.8)`, techniques with strengths of their
            own, or a plan. A pass stands for its technique at its own strength; several of one technique are joined.

    Raises:
        PlanError: For a name or pass that no technique stands for.

    Example:
        >>> from tfshop.compression import Prune
        >>> [found.strengths for found in techniques_of([Prune(0.8), Prune(0.9), "Quantize"])]
        [(0.8, 0.9), (8, 4, 2)]
    """
    if passes is None:
        return tuple(TECHNIQUES.values())
    steps: Any = passes
    if isinstance(passes, Plan):
        is_float = passes.exporter.mode.startswith("float")
        steps = passes.passes if is_float else (*passes.passes, passes.exporter)
    if isinstance(steps, str) or not isinstance(steps, Sequence):
        steps = (steps,)
    found: dict[str, Any] = {}
    for step in steps:
        technique: Any = _technique(step)
        before = found.get(technique.name)
        if before is not None:
            technique = replace(before, strengths=tuple(dict.fromkeys((*before.strengths, *technique.strengths))))
        found[technique.name] = technique
    if not found:
        raise PlanError("there are no passes. Expected at least one. Fix: leave passes out for all techniques.")
    return tuple(found.values())


def _technique(step: Any) -> Technique:
    if isinstance(step, KINDS):
        return step
    name = step if isinstance(step, str) else getattr(step, "name", type(step).__name__)
    technique = TECHNIQUES.get(STAND_FOR.get(name, name))
    if technique is None:
        raise PlanError(
            f"sensitivity to {step!r} cannot be measured layer by layer without training. Expected some of "
            f"{', '.join(TECHNIQUES)}, {', '.join(STAND_FOR)}, as names or passes. Fix: leave it out."
        )
    return technique if isinstance(step, str) else technique.of(step)
