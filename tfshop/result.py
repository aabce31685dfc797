"""What comes of a plan: a measured file beside its baseline, and how it is handed over and shown."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tfshop._folders import new_folder, require_replaceable
from tfshop.artifact import Artifact, Golden
from tfshop.compression import Candidate
from tfshop.data.split import Splits
from tfshop.evaluation import Evaluation
from tfshop.evaluation.measured import Measured
from tfshop.export import Export, Plan
from tfshop.report import Report, TrainingCurve, Variant
from tfshop.runtime import bytes_by_part

BASELINE = "float32"
SAVED_MODEL = "saved_model.pb"


@dataclass(frozen=True, eq=False)
class Result:
    """A compressed file beside its baseline.

    Attributes:
        candidate: The Keras model the file was made from, and what was done to it.
        measured: The file, its numbers and scores.
        baseline: The uncompressed float32 file of the model that came in, likewise.
        plan: The plan that was followed in the end.
        data: What it was measured on.
        limits: "max_auc_drop", "max_size_bytes", as asked for.
        missed: Each limit the file misses, and by how much; empty where all are met.
        attempts: One sentence for each plan that was tried.
    """

    candidate: Candidate
    measured: Measured
    baseline: Measured
    plan: Plan
    data: Splits
    limits: Mapping[str, float]
    missed: tuple[str, ...] = ()
    attempts: tuple[str, ...] = ()

    @property
    def met(self) -> bool:
        """Whether every limit is met."""
        return not self.missed

    @property
    def evaluation(self) -> Evaluation:
        """The file's numbers."""
        return self.measured.evaluation

    @property
    def artifact(self) -> Artifact:
        """What is handed over; `.save(folder)` writes it."""
        return _artifact(self.measured, self.plan.to_dict(functions_by_name=True), self.data, self.candidate)

    @property
    def baseline_artifact(self) -> Artifact:
        """The uncompressed file as an artifact."""
        return _artifact(self.baseline, Plan((), Export(BASELINE)).to_dict(), self.data)

    @property
    def left_alone(self) -> tuple[Mapping[str, str], ...]:
        """What a pass did not treat: layer, class, pass, reason."""
        return tuple(row for record in self.candidate.history for row in record.notes.get("left_alone", ()))

    @property
    def seconds(self) -> float:
        """Wall time of the passes together, without export and measurement."""
        return sum(record.seconds for record in self.candidate.history)

    @property
    def variant(self) -> Variant:
        """The file as a report shows it."""
        return replace(as_variant(self.measured, self.data, self.plan), left_alone=self.left_alone)

    @property
    def curves(self) -> tuple[TrainingCurve, ...]:
        """How the passes trained."""
        return tuple(
            TrainingCurve(self.evaluation.name if number == len(self.candidate.history) else record.name, record.curve)
            for number, record in enumerate(self.candidate.history, 1)
            if record.curve
        )

    @property
    def report(self) -> Report:
        """Pictures and tables; `.save(folder)` writes them."""
        return Report(
            title=f"{self.candidate.model.name}: {self.evaluation.name}",
            baseline=as_variant(self.baseline, self.data),
            variants=(self.variant,),
            curves=self.curves,
            dataset=describe_data(self.data),
            limits=self.limits,
            notes=self.attempts,
        )

    def save_model(self, folder: str | os.PathLike[str]) -> Path:
        """Write the Keras model as a SavedModel whose signature has the file's input and output names."""
        return save_saved_model(self.candidate.model, folder)

    def __str__(self) -> str:
        """The headline, and what was missed."""
        headline = self.report.headlines[self.evaluation.name]
        return "\n".join([f"{self.evaluation.name}: {headline}", *(f"limit missed: {text}" for text in self.missed)])


def as_variant(measured: Measured, data: Splits, plan: Plan | None = None) -> Variant:
    """A file as a report shows it."""
    return Variant(
        name=measured.evaluation.name,
        evaluation=measured.evaluation,
        labels=data.test.labels,
        scores=measured.test_scores,
        bytes_by_part=bytes_by_part(measured.content),
        plan=None if plan is None else plan.to_dict(functions_by_name=True),
    )


def describe_data(data: Splits) -> str:
    """One sentence on what was learned and how it was split."""
    parts = ", ".join(
        f"{split.num_rows:,} {split.name} ({', '.join(f'{share:.1%}' for share in split.positive_shares.values())} "
        "positive)"
        for split in (data.train, data.validation, data.test)
    )
    targets = ", ".join(map(repr, data.schema.targets))
    plural = "s" if len(data.schema.targets) > 1 else ""
    return f"Target{plural} {targets} from {len(data.schema.features)} features; rows: {parts}."


def plan_name(plan: Plan) -> str:
    """A short name made of the plan's steps: prune_qat_int8."""
    name = "_".join([*(step.name.lower() for step in plan.passes), plan.exporter.mode])
    return f"plain_{name}" if name == BASELINE else name


def save_saved_model(model: Any, folder: str | os.PathLike[str]) -> Path:
    """Write a Keras model as a SavedModel, beside its place and renamed there."""
    require_replaceable(folder, SAVED_MODEL)
    with new_folder(folder) as fresh:
        model.save(str(fresh), save_format="tf", include_optimizer=False)  # moments are twice the tables
    return Path(folder)


def _artifact(
    measured: Measured, plan: Mapping[str, Any], data: Splits, candidate: Candidate | None = None
) -> Artifact:
    history = () if candidate is None else tuple(record.to_dict() for record in candidate.history)
    return Artifact(
        model_bytes=measured.content,
        schema=data.schema,
        plan=plan,
        golden=Golden.of(measured.content, data.validation),
        evaluation=measured.evaluation,
        history=history,
    )
