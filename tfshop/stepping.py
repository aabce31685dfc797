"""The next plan to try when a file missed its limits: less of what hurts, or more of what shrinks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tfshop.compression import QAT, Distill, LowRank, Prune
from tfshop.compression.low_rank import ENERGY
from tfshop.compression.patterns import Pattern
from tfshop.export import Export, Plan

SPARSITY_STEP = 0.2
LEAST_SPARSITY = 0.15
LEAST_THRESHOLD = 0.01
WIDER = 2.0
WIDEST = 4096
LARGEST_BUDGET = 1 << 22
LEAST_LOST = 1e-4  # of a layer's energy
NARROWEST = 2  # a row of two numbers
SHRINKING = ("float32", "float16", "int8")


def gentler(plan: Plan) -> Plan | None:
    """A plan that loses less; None if there is none.

    Less sparsity, higher ranks, a wider student, QAT instead of PTQ, float16.

    Example:
        >>> gentler(Plan((Prune(0.8),), Export("int8"))).passes[0].sparsity
        0.6
    """
    for position, step in enumerate(plan.passes):
        milder = _milder(step)
        if milder is not None:
            return plan.with_passes(*plan.passes[:position], milder, *plan.passes[position + 1 :])
        if isinstance(step, Prune | LowRank):
            return plan.with_passes(*plan.passes[:position], *plan.passes[position + 1 :])
    if plan.exporter.mode == "int8" and not any(isinstance(step, QAT) for step in plan.passes):
        return plan.with_passes(*plan.passes, QAT())
    kept = tuple(step for step in plan.passes if not isinstance(step, QAT))
    if plan.exporter.mode in {"int8", "int8_io", "int16x8", "dynamic"}:
        return Plan(kept, Export("float16", plan.exporter.calibration_rows))
    return None


def smaller(plan: Plan) -> Plan | None:
    """A plan whose file is smaller: a narrower number format, then a narrower student; None if there is none."""
    if plan.exporter.mode in SHRINKING[:-1]:
        mode = SHRINKING[SHRINKING.index(plan.exporter.mode) + 1]
        return Plan(plan.passes, Export(mode, plan.exporter.calibration_rows))
    if not any(isinstance(step, Distill) for step in plan.passes):
        return plan.with_passes(Distill(), *plan.passes)
    for position, step in enumerate(plan.passes):
        narrower = _narrower(step) if isinstance(step, Distill) else None
        if narrower is not None:
            return plan.with_passes(*plan.passes[:position], narrower, *plan.passes[position + 1 :])
    return None


def _narrower(step: Distill) -> Distill | None:
    """A smaller student; None for one that was given as a model, or cannot be smaller."""
    if step.shrink is not None:
        return replace(step, shrink=_halved(step.shrink)) if _halved(step.shrink) != step.shrink else None
    if not isinstance(step.student, Mapping) or step.student.get("dimension", 16) <= NARROWEST:
        return None
    return replace(step, student=_scaled(step.student, 0.5, dimension=True))


def _halved(shrink: Mapping[str, Any]) -> dict[str, Any]:
    """Half the width and dimension, as a share or a number."""
    return {
        name: value if name == "depth" else value / 2 if isinstance(value, float) else max(NARROWEST, value // 2)
        for name, value in shrink.items()
    }


def _doubled(shrink: Mapping[str, Any]) -> dict[str, Any]:
    """Twice the width; never more than the teacher's."""
    return {
        name: value if name != "width" else min(1.0, value * WIDER) if isinstance(value, float) else int(value * WIDER)
        for name, value in shrink.items()
    }


def _higher_ranks(step: LowRank) -> LowRank | None:
    """Twice the rank or budget, or half the energy lost; None where that would be all of it."""
    for name in ("rank", "max_bytes", "max_multiplies"):
        value = getattr(step, name)
        if isinstance(value, Mapping):
            return replace(step, rank={layer: rank * 2 for layer, rank in value.items()}) if _doubles(value) else None
        if value is not None:
            return replace(step, **{name: value * 2}) if _doubles({name: value}) else None
    lost = (1.0 - (ENERGY if step.energy is None else step.energy)) / 2
    return replace(step, energy=round(1.0 - lost, 6)) if lost >= LEAST_LOST else None


def _doubles(given: Mapping[str, float]) -> bool:
    """Whether twice each share is still less than all, and twice each number one that a tower may have."""
    return all(value * 2 < 1 if isinstance(value, float) else value * 2 <= LARGEST_BUDGET for value in given.values())


def _milder(step: Any) -> Any:
    if isinstance(step, Prune):
        return _fewer_zeros(step)
    if isinstance(step, LowRank):
        return _higher_ranks(step)
    if isinstance(step, Distill) and step.shrink is not None:
        wider = _doubled(step.shrink)
        within = not isinstance(wider.get("width"), int) or wider["width"] <= WIDEST
        return replace(step, shrink=wider) if wider != step.shrink and wider["width"] != 1.0 and within else None
    if isinstance(step, Distill) and isinstance(step.student, Mapping):
        hidden = step.student.get("hidden", ())
        if hidden and max(hidden) * WIDER <= WIDEST:
            return replace(step, student=_scaled(step.student, WIDER))
    return None


def _fewer_zeros(step: Prune) -> Prune | None:
    """A lower sparsity, or a threshold of half the value; a pattern such as 2:4 leaves no choice."""
    if step.threshold is not None:
        lower = replace(step.threshold, value=step.threshold.value / 2)
        return replace(step, threshold=lower) if lower.value >= LEAST_THRESHOLD else None
    if Pattern.parse(step.pattern).is_grouped or step.sparsity - SPARSITY_STEP < LEAST_SPARSITY:
        return None
    sparsity = round(step.sparsity - SPARSITY_STEP, 3)
    return replace(step, sparsity=sparsity, layers={name: min(own, sparsity) for name, own in step.layers.items()})


def _scaled(student: Any, factor: float, *, dimension: bool = False) -> dict[str, Any]:
    changed = {**student, "hidden": tuple(max(1, int(width * factor)) for width in student.get("hidden", (100,) * 3))}
    if dimension:
        changed["dimension"] = max(2, int(student.get("dimension", 16) * factor))
    return changed
