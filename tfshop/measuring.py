"""One file on the scales: exported, audited, scored and timed beside its baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tfshop._console import say
from tfshop.compression import Candidate
from tfshop.compression.candidate import LEFT_OUT
from tfshop.data.binding import bind
from tfshop.data.schema import InputSpec
from tfshop.data.split import Splits
from tfshop.errors import AuditError, ExportError, ScoringError
from tfshop.evaluation import Evaluation
from tfshop.evaluation.audit import audit_file
from tfshop.evaluation.measured import Measured, measure_file
from tfshop.export import Export
from tfshop.export.trained import without_ranges
from tfshop.result import BASELINE
from tfshop.runtime import Scorer, compare_latency, count_zeros
from tfshop.training.adoption import adopted
from tfshop.training.checks import require_functional
from tfshop.training.outputs import arrange_outputs, outputs_note

SECONDS_A_BATCH_SIZE = 0.3
TIMED_ROWS = 2048
INT8_BITS = 8


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
        ArtifactError: For a file that is damaged.
        ScoringError: For one that does not take the data.

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


def measure_candidate(
    candidate: Candidate, data: Splits, exporter: Export, name: str, baseline: Measured
) -> tuple[Candidate, Measured]:
    """The audited file; after QAT, the best on validation of three.

    The trained one, that of the trained weights with ranges measured after training, and that of the weights before
    QAT. With fewer than 8 bits asked for, the trained one. Where the audit refuses the first choice, it is the next,
    and that is said.
    """
    rivals = {"QAT": candidate}
    if candidate.unquantized is not None:
        measured_ranges = without_ranges(candidate.model)
        rivals["QAT's weights with measured ranges"] = replace(candidate, model=measured_ranges, unquantized=None)
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
    if few_bits := _few_bits(candidate):
        best_first = sorted(files, key=list(rivals).index)  # the plain file has 8 bits, which is not what was asked for
    for kind in best_first:
        content, model = files[kind].content, rivals[kind].model
        try:
            audit = audit_file(content, model, data, mode=exporter.mode, baseline=baseline.content)
        except AuditError as error:
            refused[kind] = error
            continue
        notes = (*_comparison(kind, files, refused, few_bits), audit.sentence, *_pass_notes(rivals[kind], content))
        return rivals[kind], files[kind].with_notes(*notes)
    raise next(iter(refused.values()))


def _few_bits(candidate: Candidate) -> int | None:
    """The bits of the last QAT, where they are fewer than those of int8."""
    trained = [record for record in candidate.history if record.name == "QAT" and LEFT_OUT not in record.notes]
    bits = [record.settings["bits"] for record in trained]
    return bits[-1] if bits and bits[-1] < INT8_BITS else None


def _comparison(
    kept: str, files: Mapping[str, Measured], refused: Mapping[str, Exception], few_bits: int | None
) -> tuple[str, ...]:
    """Why one of several files is kept; nothing where there is one only."""
    if refused:
        return tuple(f"{kept} is kept: the file of {kind} was refused: {why}" for kind, why in refused.items())
    if len(files) == 1:
        return ()
    aucs = ", ".join(f"{measured.evaluation.mean_validation_auc:.5f} with {kind}" for kind, measured in files.items())
    if few_bits:
        return (f"{kept} is kept for its {few_bits} bits: validation AUC {aucs}, which has 8",)
    return (f"{kept} is the best and is kept: validation AUC {aucs}",)


def _pass_notes(candidate: Candidate, content: bytes) -> tuple[str, ...]:
    """Passes that were left out; what passes promised to preserve, counted in the bytes."""
    missing = tuple(f"{r.name} was left out: {r.notes[LEFT_OUT]}" for r in candidate.history if LEFT_OUT in r.notes)
    if not any("sparsity" in record.notes for record in candidate.history):
        return missing
    zeros, size = count_zeros(content)
    return (
        *missing,
        f"{zeros / size:.1%} of the file's {size:,} dense weights are zero; zeros shrink the download "
        "(see the gzipped size), not the latency",
    )


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
