"""Distillation: a smaller network of the same family learns from the scores of the one at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from tfshop._keras import keras
from tfshop.compression.candidate import Candidate, curve_of, require_positive
from tfshop.data.schema import Schema
from tfshop.data.split import Split, Splits
from tfshop.errors import ModelError, PlanError
from tfshop.models import MODELS, build_model
from tfshop.training import DistillationLoss, FitSettings, fit, predict

STUDENT = {"dimension": 16, "hidden": (100, 100, 100)}


@dataclass(frozen=True)
class Distill:
    """Train a smaller student on the teacher's scores; the teacher is the model that comes in.

    Args:
        student: Hyperparameters of the student, as `build_model` takes them.
        family: Key of `MODELS`; None for the teacher's own.
        weight: Share of the teacher's soft targets in the loss, in [0, 1]; 0 trains on labels alone.
        temperature: Softens the teacher's scores; 1 leaves them.
        epochs: Most epochs; the best on validation is kept.
        learning_rate: Step size.

    Raises:
        PlanError: At construction for a value out of range; in `check` for a teacher of no known family or a
            student that cannot be built.

    Example:
        >>> Distill({"dimension": 8, "hidden": (64, 32)}).weight
        0.9

    References:
        Hinton et al., Distilling the Knowledge in a Neural Network, 2015.
    """

    name: ClassVar[str] = "Distill"
    makes: ClassVar[tuple[str, ...]] = ()
    preserves: ClassVar[tuple[str, ...]] = ()

    student: Mapping[str, Any] = field(default_factory=lambda: dict(STUDENT))
    family: str | None = None
    weight: float = 0.9
    temperature: float = 1.0
    epochs: int = 6
    learning_rate: float = 2e-3

    def __post_init__(self) -> None:
        if not isinstance(self.student, Mapping):
            raise PlanError(
                f"student is {self.student!r}. Expected hyperparameters by name. "
                "Fix: Distill({'dimension': 8, 'hidden': (100, 100)})."
            )
        settings = {name: tuple(value) if isinstance(value, list) else value for name, value in self.student.items()}
        object.__setattr__(self, "student", settings)
        if not 0 <= self.weight <= 1:
            raise PlanError(f"weight is {self.weight}. Expected a share in [0, 1]. Fix: weight=0.9.")
        require_positive("temperature", self.temperature)
        FitSettings(epochs=self.epochs, learning_rate=self.learning_rate)

    def check(self, model: Any, schema: Schema) -> None:
        """Refuse what cannot be built; the student's input names are the schema's."""
        self.student_model(model, schema)

    def student_model(self, model: Any, schema: Schema, *, seed: int = 0) -> Any:
        """The student, untrained.

        Raises:
            PlanError: For a teacher of no known family, or hyperparameters its family does not take.
        """
        try:
            return build_model(self._family(model), schema, seed=seed, **self.student)
        except ModelError as error:
            raise PlanError(f"Distill cannot build its student: {error}") from error

    def apply(self, candidate: Candidate, data: Splits, seed: int) -> Candidate:
        """Score the training rows once with the teacher, then train the student on them."""
        student = self.student_model(candidate.model, data.schema, seed=seed)
        targets = soft_targets(candidate.model, data.train)
        one = len(data.schema.targets) == 1  # of several, an output can be a product of probabilities without a logit
        settings = FitSettings(
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            seed=seed,
            loss=DistillationLoss(self.weight, self.temperature, from_logits=one),
            description="distilling",
        )
        taught = keras.Model(student.inputs, student.get_layer("logit").output, name=student.name) if one else student
        history = fit(taught, data, settings, train_split=targets)
        notes = {
            "teacher_parameters": candidate.model.count_params(),
            "student_parameters": student.count_params(),
            "fit": history.to_dict(),
        }
        return candidate.advance(self, student, notes=notes, curve=curve_of(history))

    def _family(self, model: Any) -> str:
        family = self.family or model.name
        if family not in MODELS:
            raise PlanError(
                f"Distill cannot tell the family of {model.name!r}. Expected one of {', '.join(MODELS)}. "
                "Fix: Distill(family='mlp')."
            )
        return family


def soft_targets(teacher: Any, split: Split) -> Split:
    """The split with labels float32 (rows, 2): label, teacher's logit; (rows, targets, 2) of several targets."""
    scores = np.clip(predict(teacher, split, description="scoring with the teacher").astype(np.float64), 1e-7, 1 - 1e-7)
    logits = np.log(scores) - np.log1p(-scores)
    return replace(split, labels=np.stack([split.labels, logits], axis=-1).astype(np.float32))
