"""The next plan to try when a file missed its limits: less of what hurts, or more of what shrinks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tfshop.compression import QAT, Distill, Prune
from tfshop.compression.patterns import Pattern
from tfshop.export import Export, Plan

SPARSITY_STEP = 0.2
LEAST_SPARSITY = 0.15
LEAST_THRESHOLD = 0.01
WIDER = 2.0
WIDEST = 4096
SHRINKING = ("float32", "float16", "int8")


def gentler(plan: Plan) -> Plan | None:
    """A plan that loses less: less sparsity, a wider student, QAT instead of PTQ, float16; None if there is none.

    Example:
        >>> gentler(Plan((Prune(0.8),), Export("int8"))).passes[0].sparsity
        0.6
    """
    for position, step in enumerate(plan.passes):
        milder = _milder(step)
        if milder is not None:
            return plan.with_passes(*plan.passes[:position], milder, *plan.passes[position + 1 :])
        if isinstance(step, Prune):
            return plan.with_passes(*plan.passes[:position], *plan.passes[position + 1 :])
    if plan.exporter.mode == "int8" and not any(isinstance(step, QAT) for step in plan.passes):
        return plan.with_passes(*plan.passes, QAT())
    kept = tuple(step for step in plan.passes if not isinstance(step, QAT))
    if plan.exporter.mode in {"int8", "int8_io", "int16x8", "dynamic"}:
        return Plan(kept, replace(plan.exporter, mode="float16"))
    return None


def smaller(plan: Plan) -> Plan | None:
    """A plan whose file is smaller: a narrower number format, then a narrower student; None if there is none."""
    if plan.exporter.mode in SHRINKING[:-1]:
        mode = SHRINKING[SHRINKING.index(plan.exporter.mode) + 1]
        return Plan(plan.passes, Export(mode, plan.exporter.calibration_rows))
    if not any(isinstance(step, Distill) for step in plan.passes):
        return plan.with_passes(Distill(), *plan.passes)
    for position, step in enumerate(plan.passes):
        if isinstance(step, Distill) and step.student.get("dimension", 16) > 2:  # noqa: PLR2004  (a row of two numbers)
            narrower = replace(step, student=_scaled(step.student, 0.5, dimension=True))
            return plan.with_passes(*plan.passes[:position], narrower, *plan.passes[position + 1 :])
    return None


def _milder(step: Any) -> Any:
    if isinstance(step, Prune):
        return _fewer_zeros(step)
    if isinstance(step, Distill):
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
