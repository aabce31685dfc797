"""The techniques that sensitivity is measured for, and which of them a pass stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tfshop.compression import PASSES
from tfshop.errors import PlanError
from tfshop.export import Export, Plan
from tfshop.probing.bits import Bits
from tfshop.probing.rank import Rank
from tfshop.probing.shared import Shared
from tfshop.probing.technique import Technique
from tfshop.probing.units import Units
from tfshop.probing.zeros import Zeros

TECHNIQUES: Mapping[str, Technique] = MappingProxyType(
    {technique.kind: technique for technique in (Zeros(), Units(), Rank(), Shared(), Bits())}
)
STAND_FOR: Mapping[str, str] = MappingProxyType({"QAT": "Quantize", "Export": "Quantize"})
# Why the other passes have no loss of single layers.
WITHOUT: Mapping[str, str] = MappingProxyType(
    {
        "Distill": "trains another network",
        "DropFeatures": "takes out features, whose effect feature_effects(model, data) measures",
        "EncodeTables": "stores tables, which `distortion` measures before anything is built",
        "AllocateTables": "chooses codecs for fields, whose losses it tells in its notes",
        "TuneTables": "trains tables",
        "Equalize": "leaves what the network computes as it is",
    }
)


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
    found: dict[str, Technique] = {}
    for step in _steps(passes):
        technique = _technique(step)
        known = found.get(technique.name)
        found[technique.name] = technique if known is None else known.joined(technique)
    if not found:
        raise PlanError("there are no passes. Expected at least one. Fix: leave passes out for all techniques.")
    return tuple(found.values())


def _steps(passes: Any) -> Sequence[Any]:
    if isinstance(passes, Plan):
        is_float = passes.exporter.mode.startswith("float")
        return passes.passes if is_float else (*passes.passes, passes.exporter)
    return (passes,) if isinstance(passes, str) or not isinstance(passes, Sequence) else passes


def _technique(step: Any) -> Technique:
    if isinstance(step, Technique):
        return step
    name = step if isinstance(step, str) else getattr(step, "name", type(step).__name__)
    technique = TECHNIQUES.get(STAND_FOR.get(name, name))
    is_pass = isinstance(step, (*PASSES.values(), Export))
    if technique is None or not (is_pass or isinstance(step, str)):
        raise _unknown(step, name)
    return technique if isinstance(step, str) else technique.of(step)


def _unknown(step: Any, name: str) -> PlanError:
    known = f"{', '.join(TECHNIQUES)}, {', '.join(STAND_FOR)}"
    if name in WITHOUT:
        what, fix = f"sensitivity to {name} cannot be measured layer by layer: it {WITHOUT[name]}", "leave it out"
    elif isinstance(step, type):
        what, fix = f"sensitivity was given the class {step.__name__}", f"{step.__name__}(…), or '{step.__name__}'"
    else:
        what, fix = f"sensitivity knows no technique {step!r}", "passes such as Prune(0.8), or leave passes out for all"
    return PlanError(f"{what}. Expected some of {known}, as names or passes. Fix: {fix}.")
