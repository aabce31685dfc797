"""The whole way in one call: passes, export, audit, measurement, limits, report."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from tfshop._console import say
from tfshop.compression import Candidate, Distill, Pass
from tfshop.compression.candidate import Foresees
from tfshop.compression.left_alone import summary
from tfshop.data.split import Splits
from tfshop.errors import AuditError, DataError, LimitError, PlanError
from tfshop.evaluation.measured import Measured
from tfshop.export import Plan
from tfshop.measuring import evaluate, measure_baseline, measure_candidate, time_together
from tfshop.report.verdict import missed_limits
from tfshop.result import Result, as_variant, plan_name
from tfshop.stepping import gentler, smaller
from tfshop.training.adoption import adopted
from tfshop.training.checks import require_finite_weights, require_functional
from tfshop.training.outputs import arrange_outputs, outputs_note

__all__ = ["MOST_ATTEMPTS", "Goal", "compress", "evaluate", "measure_baseline", "pursue", "time_together"]

MOST_ATTEMPTS = 6


@dataclass(frozen=True, eq=False)
class Goal:
    """What is asked of a file, and how hard to try.

    Attributes:
        name: What reports call the file; made from the plan where it is None.
        limits: "max_auc_drop", "max_size_bytes".
        retry: Whether gentler (or smaller) plans are tried where a limit is missed.
        seed: Of every pass.
        baseline: The uncompressed file, measured before; None to measure it.
        timed: Whether the file is timed beside its baseline.

    Raises:
        PlanError: For a limit that is not above 0.
    """

    name: str | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    retry: bool = False
    seed: int = 0
    baseline: Measured | None = None
    timed: bool = True

    def __post_init__(self) -> None:
        for limit, value in self.limits.items():
            if not isinstance(value, (int, float)) or not value > 0:
                raise PlanError(f"{limit} is {value!r}. Expected a number above 0. Fix: {limit}=… or leave it out.")


def compress(
    model: Any,
    data: Splits,
    plan: Plan,
    *,
    max_auc_drop: float | None = None,
    max_size_bytes: int | None = None,
    retry: bool = False,
    seed: int = 0,
    name: str | None = None,
) -> Result:
    """Follow a plan, and measure the file it gives beside the uncompressed one.

    Args:
        model: Functional tf_keras model, trained; left as it is.
        data: Splits; limits are judged on validation, test is only reported.
        plan: From `chain(...)` or `recipes`.
        max_auc_drop: The lower end of the 95% interval of the AUC difference on validation may be at most so far
            below zero; of several targets, that of each.
        max_size_bytes: Largest size of the file.
        retry: Where a limit is missed, try gentler (or smaller) plans until one meets them all. Where AUC is, tables
            get more bits and other passes become milder, in turns; where size is, the file gets a narrower number
            format, then tables fewer bits, then the network a narrower student.
        seed: Of every pass.
        name: What reports call the file; made from the plan where it is not given.

    Returns:
        The file with its evaluation. Without `retry`, a missed limit is said in `result.missed`.

    Raises:
        PlanError: Before any training, for what cannot work on this model. A pass of which only the training of those
            before it tells that it cannot is left out: `result.evaluation.notes` say so.
        AuditError: For a file that lost something that matters.
        LimitError: With `retry`, where no plan met the limits; `error.best` is the closest result, None where the
            audit refused every file.

    Example:
        >>> result = compress(model, data, chain(Prune(0.5), Export("int8")), max_auc_drop=0.001)  # doctest: +SKIP
        >>> result.artifact.save("tflite/mine"); result.report.save("report/mine")  # doctest: +SKIP
    """
    given = {"max_auc_drop": max_auc_drop, "max_size_bytes": max_size_bytes}
    limits = {limit: value for limit, value in given.items() if value is not None}
    return pursue(model, data, plan, Goal(name, limits, retry, seed))


def pursue(model: Any, data: Splits, plan: Plan, goal: Goal) -> Result:
    """`compress`, with everything that can be set in one value."""
    require_functional(model)
    require_finite_weights(model)
    if not isinstance(data, Splits):
        raise DataError(f"data is {type(data).__name__}. Expected Splits. Fix: data = prepare(table, schema, split=…).")
    if not isinstance(plan, Plan):
        raise PlanError(f"plan is {plan!r}. Expected a Plan. Fix: chain(Prune(0.5), Export('int8')) or recipes.int8().")
    arranged, note = arrange_outputs(model, data.schema), outputs_note(model, data.schema)
    model = _ready(arranged, data)
    plan.check(model, data.schema)
    goal = replace(goal, baseline=goal.baseline or measure_baseline(model, data, note=note))
    attempts: list[str] = []
    best: Result | None = None
    refused: AuditError | None = None
    for attempt in _plans(plan, model, data, retry=goal.retry):
        try:
            result = _follow(model, data, attempt.plan, goal)
        except AuditError as error:
            if not goal.retry:
                raise
            refused, attempt.missed_quality = error, True
            attempts.append(f"{attempt.plan}: refused by the audit: {error}")
            continue
        attempts.append(f"{attempt.plan}: {'; '.join(result.missed) or 'within the limits'}")
        result = replace(result, attempts=tuple(attempts) if goal.retry else ())
        if result.met or not goal.retry:
            return _timed(result) if goal.timed else result
        best = _closer(best, result)
        attempt.missed_quality, attempt.missed_size = _missed_what(result)
        say(f"{result.evaluation.name}: {'; '.join(result.missed)}; stepping back")
    raise _no_plan_left(goal, best, len(attempts)) from refused


def _ready(model: Any, data: Splits) -> Any:
    """The model as passes take it; what that changed is said."""
    found = adopted(model, data.schema)
    for note in found.notes:
        say(f"{model.name}: {note}")
    return found.model


def _no_plan_left(goal: Goal, best: Result | None, attempts: int) -> LimitError:
    if best is None:
        return LimitError(
            f"the audit refused the files of all {attempts} attempts; the last refusal is the cause of this error. "
            "Expected a file that lost nothing that matters. Fix: see whether Export('float32') passes, then add one "
            "step at a time."
        )
    return LimitError(
        f"no plan met the limits after {attempts} attempts. Closest: {best.plan}, which misses "
        f"{'; '.join(best.missed)}. Expected {dict(goal.limits)}. Fix: looser limits, a smaller network, or a plan "
        "from recipes; the closest result is in `error.best`.",
        best=best,
    )


@dataclass
class _Attempt:
    """One plan, and afterwards what was wrong with its file."""

    plan: Plan
    missed_quality: bool = False
    missed_size: bool = False


def _plans(plan: Plan, model: Any, data: Splits, *, retry: bool) -> Iterator[_Attempt]:
    """The plan, then as long as its files miss something, others; none is tried twice."""
    tried: list[Plan] = []
    current: Plan | None = plan
    while current is not None and current not in tried and len(tried) < MOST_ATTEMPTS:
        attempt = _Attempt(current)
        yield attempt
        tried.append(current)
        if not retry or (attempt.missed_quality and attempt.missed_size):
            return  # what would mend the one makes the other worse
        works = partial(_works, before=current, model=model, data=data)
        current = smaller(current, works) if attempt.missed_size else gentler(current, works, turn=len(tried) - 1)


def _works(plan: Plan, before: Plan, model: Any, data: Splits) -> bool:
    """Whether a plan that nobody asked for would be let through, and may come to another end than the one before."""
    try:
        plan.check(model, data.schema)
    except PlanError:
        return False
    return not _has_the_same_student(plan, before, model, data)


def _has_the_same_student(plan: Plan, before: Plan, model: Any, data: Splits) -> bool:
    """Whether all that two plans differ in is a student that has the same shapes in both, such as its teacher's."""
    for step, other in zip(plan.passes, before.passes, strict=False):
        if step != other:
            students = [one.student_model(model, data.schema) for one in (step, other) if isinstance(one, Distill)]
            shapes = [[tuple(weight.shape) for weight in student.weights] for student in students]
            return len(shapes) > 1 and shapes[0] == shapes[1]
        model = step.foreseen(model, data.schema) if isinstance(step, Foresees) else model
    return False


def _follow(model: Any, data: Splits, plan: Plan, goal: Goal) -> Result:
    name = goal.name or plan_name(plan)
    baseline = goal.baseline or measure_baseline(model, data)
    candidate = Candidate(model, data.schema)
    for step in plan.passes:
        if reason := _reason_against(step, candidate):
            say(f"  {step.name} is left out: {reason}")
            candidate = candidate.without(step, reason)
            continue
        started = time.perf_counter()
        candidate = step.apply(candidate, data, goal.seed)
        candidate = candidate.timed(time.perf_counter() - started)
        for line in summary(candidate.history[-1].notes.get("left_alone", ())):
            say(f"  {line}")
    say(f"exporting {name} ({plan.exporter.mode})")
    candidate, measured = measure_candidate(candidate, data, plan.exporter, name, baseline)
    missed = missed_limits(as_variant(measured, data, plan), goal.limits)
    return Result(candidate, measured, baseline, plan, data, goal.limits, missed)


def _reason_against(step: Pass, candidate: Candidate) -> str:
    """Why a step cannot work on what the steps before it left, which only their training told; empty where it can."""
    try:
        step.check(candidate.model, candidate.schema)
    except PlanError as error:
        if not candidate.history:
            raise
        return str(error)
    return ""


def _timed(result: Result) -> Result:
    timed = time_together({"file": result.measured, "baseline": result.baseline}, result.data)
    return replace(result, measured=timed["file"], baseline=timed["baseline"])


def _closer(best: Result | None, result: Result) -> Result:
    """Of two results that miss limits: the one that misses fewer, then the one that misses them by less."""
    if best is None:
        return result
    return min(best, result, key=lambda one: (len(one.missed), _excess(one), -one.evaluation.mean_validation_auc))


def _excess(result: Result) -> float:
    """How many times over its limit the worst figure is."""
    differences = [evaluation.auc_difference_validation for evaluation in result.evaluation.each.values()]
    found = {
        "max_size_bytes": float(result.evaluation.size_bytes),
        "max_auc_drop": max(0.0 if difference is None else -difference.low for difference in differences),
    }
    return max((found[limit] / allowed for limit, allowed in result.limits.items()), default=0.0)


def _missed_what(result: Result) -> tuple[bool, bool]:
    return (
        any(text.startswith("max_auc_drop") for text in result.missed),
        any(text.startswith("max_size_bytes") for text in result.missed),
    )
