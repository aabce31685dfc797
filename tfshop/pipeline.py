"""The whole way in one call: passes, export, audit, measurement, limits, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tfshop._console import say
from tfshop.compression import Candidate
from tfshop.compression.left_alone import summary
from tfshop.data.binding import bind
from tfshop.data.schema import InputSpec
from tfshop.data.split import Splits
from tfshop.errors import AuditError, DataError, ExportError, LimitError, PlanError, ScoringError
from tfshop.evaluation import Evaluation
from tfshop.evaluation.audit import audit_file
from tfshop.evaluation.measured import Measured, measure_file
from tfshop.export import Export, Plan
from tfshop.report.verdict import missed_limits
from tfshop.result import BASELINE, Result, as_variant, plan_name
from tfshop.runtime import Scorer, compare_latency, count_zeros
from tfshop.stepping import gentler, smaller
from tfshop.training.adoption import adopted
from tfshop.training.checks import require_functional
from tfshop.training.outputs import arrange_outputs, outputs_note

MOST_ATTEMPTS = 6
SECONDS_A_BATCH_SIZE = 0.3
TIMED_ROWS = 2048


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
        retry: Where a limit is missed, try gentler (or smaller) plans until one meets them all.
        seed: Of every pass.
        name: What reports call the file; made from the plan where it is not given.

    Returns:
        The file with its evaluation. Without `retry`, a missed limit is said in `result.missed`.

    Raises:
        PlanError: Before any training, for what cannot work on this model.
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
    for attempt in _plans(plan, lambda other: _works(other, model, data), retry=goal.retry):
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


def _plans(plan: Plan, works: Callable[[Plan], bool], *, retry: bool) -> Iterator[_Attempt]:
    """The plan, then as long as its files miss something, others; none is tried twice."""
    tried: list[Plan] = []
    current: Plan | None = plan
    while current is not None and current not in tried and len(tried) < MOST_ATTEMPTS:
        attempt = _Attempt(current)
        yield attempt
        tried.append(current)
        if not retry or (attempt.missed_quality and attempt.missed_size):
            return  # what would mend the one makes the other worse
        current = smaller(current) if attempt.missed_size else gentler(current)
        if current is not None and not works(current):
            return


def _works(plan: Plan, model: Any, data: Splits) -> bool:
    """Whether a plan that nobody asked for would be let through."""
    try:
        plan.check(model, data.schema)
    except PlanError:
        return False
    return True


def _follow(model: Any, data: Splits, plan: Plan, goal: Goal) -> Result:
    name = goal.name or plan_name(plan)
    baseline = goal.baseline or measure_baseline(model, data)
    candidate = Candidate(model, data.schema)
    for step in plan.passes:
        step.check(candidate.model, data.schema)
        started = time.perf_counter()
        candidate = step.apply(candidate, data, goal.seed)
        candidate = candidate.timed(time.perf_counter() - started)
        for line in summary(candidate.history[-1].notes.get("left_alone", ())):
            say(f"  {line}")
    say(f"exporting {name} ({plan.exporter.mode})")
    candidate, measured = _export(candidate, data, plan.exporter, name, baseline)
    measured = measured.with_notes(*_pass_notes(candidate, measured.content))
    missed = missed_limits(as_variant(measured, data, plan), goal.limits)
    return Result(candidate, measured, baseline, plan, data, goal.limits, missed)


def _export(
    candidate: Candidate, data: Splits, exporter: Export, name: str, baseline: Measured
) -> tuple[Candidate, Measured]:
    """The audited file; after QAT, the better on validation of the trained one and that of the weights before QAT.

    Where the audit refuses the better one, it is the other, and that is said.
    """
    rivals = {"QAT": candidate}
    if candidate.unquantized is not None:
        rivals["post-training quantization"] = replace(candidate, model=candidate.unquantized, unquantized=None)
    files: dict[str, Measured] = {}
    refused: dict[str, Exception] = {}
    for kind, rival in rivals.items():
        try:
            exported = exporter.export(rival.model, data)
            files[kind] = measure_file(name, exported.content, data, baseline=baseline).with_notes(*exported.notes)
        except (ExportError, ScoringError) as error:
            refused[kind] = error
    best_first = sorted(files, key=lambda kind: -files[kind].evaluation.mean_validation_auc)  # QAT where they are equal
    for kind in best_first:
        content, model = files[kind].content, rivals[kind].model
        try:
            audit = audit_file(content, model, data, mode=exporter.mode, baseline=baseline.content)
        except AuditError as error:
            refused[kind] = error
            continue
        return rivals[kind], files[kind].with_notes(*_comparison(kind, files, refused), audit.sentence)
    raise next(iter(refused.values()))


def _comparison(kept: str, files: Mapping[str, Measured], refused: Mapping[str, Exception]) -> tuple[str, ...]:
    """Why one of two files is kept; nothing where there is one only."""
    if refused:
        return tuple(f"{kept} alone is kept: the file of {kind} was refused: {why}" for kind, why in refused.items())
    if len(files) == 1:
        return ()
    trained, plain = (measured.evaluation.mean_validation_auc for measured in files.values())
    found = f"validation AUC {trained:.5f} with QAT, {plain:.5f} with post-training quantization alone"
    return (f"{kept} is the better one and is kept: {found}",)


def _pass_notes(candidate: Candidate, content: bytes) -> tuple[str, ...]:
    """What passes promised to preserve, counted in the bytes."""
    if not any("sparsity" in record.notes for record in candidate.history):
        return ()
    zeros, size = count_zeros(content)
    return (
        f"{zeros / size:.1%} of the file's {size:,} dense weights are zero; zeros shrink the download "
        "(see the gzipped size), not the latency",
    )


def measure_baseline(model: Any, data: Splits, *, note: str | None = None) -> Measured:
    """The model's own float32 file: converted, audited, scored.

    Args:
        model: Functional model.
        data: Splits.
        note: Which output was taken for which target, where that was decided before.

    Raises:
        AuditError: For a network that does not survive even a float32 export.
    """
    say("exporting the float32 baseline")
    content = Export(BASELINE).to_bytes(model, data)
    audit = audit_file(content, model, data, mode=BASELINE)
    note = outputs_note(model, data.schema) if note is None else note
    return measure_file(BASELINE, content, data).with_notes(audit.sentence, *([note] if note else []))


def evaluate(
    source: Any, data: Splits, *, name: str | None = None, baseline: Any = None, timed: bool = True
) -> Evaluation:
    """Measure a file, an artifact or a Keras model (through its float32 file) on validation and test.

    Args:
        source: Keras model, artifact, path or bytes of a `.tflite`.
        data: Splits of prepared data.
        name: What to call it.
        baseline: What to compare with, likewise; AUC differences are paired by row.
        timed: Whether latency is measured too.

    Returns:
        Every number of the file; AUC, log loss, accuracy, precision, recall, F1, grouped AUC, calibration, tie rate,
        sizes in bytes, latency in microseconds.

    Raises:
        ArtifactError: For a file that is damaged. ScoringError: For one that does not take the data.

    Example:
        >>> evaluate("tflite/demo/int8", data).test.auc  # doctest: +SKIP
    """
    reference = None if baseline is None else _measured(baseline, data, BASELINE, None)
    measured = _measured(source, data, name or "model", reference)
    if timed:
        measured = time_together({"file": measured}, data)["file"]
    return measured.evaluation


def _measured(source: Any, data: Splits, name: str, baseline: Measured | None) -> Measured:
    if hasattr(source, "get_weights"):
        require_functional(source)
        source = Export(BASELINE).to_bytes(adopted(arrange_outputs(source, data.schema), data.schema).model, data)
    return measure_file(name, source, data, baseline=baseline)


def time_together(results: Mapping[str, Measured], data: Splits) -> dict[str, Measured]:
    """Time files in turns in one run, so that their ratios hold."""
    rows = data.test.take(TIMED_ROWS, seed=0)
    inputs: dict[str, Any] = {}
    for measured in results.values():  # a file of somebody else's network wants one input a feature
        wanted = Scorer(measured.content, schema=data.schema).inputs
        inputs.update(bind(rows.inputs, data.schema, {n: InputSpec(s.shape, s.dtype) for n, s in wanted.items()}))
    times = compare_latency(
        {name: measured.content for name, measured in results.items()},
        inputs=inputs,
        seconds=SECONDS_A_BATCH_SIZE,
    )
    return {name: measured.with_latency(times[name]) for name, measured in results.items()}


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
