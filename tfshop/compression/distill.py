"""Distillation: a smaller network learns from the scores, and from hidden layers, of larger ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tfshop._keras import keras
from tfshop.compression.candidate import Candidate, curve_of, require_positive
from tfshop.compression.hints import LAST_HIDDEN, HintCurve, HintPair, hint_name, hint_pairs, with_hints
from tfshop.compression.shrinkage import settings_of
from tfshop.compression.student import cut, is_given, loaded, names_of, require_teachers, student_of, whole_student
from tfshop.compression.teacher_scores import AVERAGES, soft_targets
from tfshop.compression.teaching import require_learners
from tfshop.compression.unread import refuse_unread
from tfshop.compression.warm_start import warm_start
from tfshop.data.schema import Schema
from tfshop.data.split import Splits
from tfshop.errors import PlanError
from tfshop.models.rebuild import inlined
from tfshop.training import DistillationLoss, FitSettings, fit

STUDENT = {"dimension": 16, "hidden": (100, 100, 100)}


@dataclass(frozen=True)
class Distill:
    """Train a smaller student on its teachers' scores; the model that comes in is the first teacher.

    Teachers score the training rows once: the scores are kept in memory as long as the rows are. Student and teachers
    may have other inputs than each other, as long as the schema has them.

    Args:
        student: Hyperparameters of the student, as `build_model` takes them; or a functional model, which is copied;
            or the path of a saved one.
        family: Key of `MODELS`; None for the teacher's own.
        weight: Share of the teachers' soft targets in the loss, in [0, 1]; 0 trains on labels alone.
        temperature: Softens the teachers' scores; 1 leaves them.
        epochs: Most epochs; the best on validation is kept.
        learning_rate: Step size.
        shrink: `width`, `depth`, `dimension`, `crosses` of `shrink`: the student is then the teacher, smaller.
        teachers: More teachers beside the model that comes in: functional models, or paths of saved ones.
        averages: Whether the teachers' "logits" or "probabilities" are averaged.
        hints: Layer of the first teacher to the layer of the student that learns to say the same; "last hidden" for
            what the head reads. Where widths differ, through a learned projection, which is dropped afterwards.
        hint_weight: Of the hints in the loss.
        warm_start: Whether the student begins with the first teacher's most important units, layers by name.
        cache: Folder where the teachers' scores are kept between runs.
        features: Names of the features that a student by hyperparameters reads, with an input each; None for all.
        without: Names of features that the student does without, for a history takes longer to look up than many
            ids; its inputs stay as they are.
        unknown_ids: Whether the student reads ids as unknown at random, as much more often as validation has unknown
            ones, while teachers score them as they are; see `train`.

    Raises:
        PlanError: At construction for a value out of range; in `check` for a teacher of no known family, a student
            that cannot be built, models that the schema cannot feed, and hints about layers that are not there.

    Example:
        >>> Distill({"dimension": 8, "hidden": (64, 32)}).weight
        0.9
        >>> Distill(shrink={"width": 0.25}, hints={"last hidden": "last hidden"}, warm_start=True).hint_weight
        0.1

    References:
        Hinton et al., Distilling the Knowledge in a Neural Network, 2015. Romero et al., FitNets, ICLR 2015.
    """

    name: ClassVar[str] = "Distill"
    makes: ClassVar[tuple[str, ...]] = ()
    preserves: ClassVar[tuple[str, ...]] = ()

    student: Any = field(default_factory=lambda: dict(STUDENT))
    family: str | None = None
    weight: float = 0.9
    temperature: float = 1.0
    epochs: int = 4
    learning_rate: float = 2e-3
    shrink: Mapping[str, Any] | None = None
    teachers: tuple[Any, ...] = ()
    averages: str = "logits"
    hints: Mapping[str, str] = field(default_factory=dict)
    hint_weight: float = 0.1
    warm_start: bool = False
    cache: str | None = None
    features: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()
    unknown_ids: bool = False

    def __post_init__(self) -> None:
        self._settle_student()
        teachers = self.teachers if isinstance(self.teachers, tuple | list) else (self.teachers,)
        require_teachers(teachers)
        object.__setattr__(self, "teachers", tuple(teachers))
        self._settle_hints()
        if not 0 <= self.weight <= 1:
            raise PlanError(f"weight is {self.weight}. Expected a share in [0, 1]. Fix: weight=0.9.")
        if self.averages not in AVERAGES:
            raise PlanError(f"averages is {self.averages!r}. Expected one of {', '.join(AVERAGES)}. Fix: 'logits'.")
        require_positive("temperature", self.temperature)
        require_positive("hint_weight", self.hint_weight)
        FitSettings(epochs=self.epochs, learning_rate=self.learning_rate, unknown_ids=self.unknown_ids)
        self._refuse_unread()

    def _refuse_unread(self) -> None:
        if not self.hints:
            refuse_unread(self, ("hint_weight",), "there are no hints", fix=f"hints={LAST_HIDDEN!r}")
        if self.weight == 0:
            unread = ("temperature", "teachers", "averages", "cache")
            refuse_unread(self, unread, "weight=0 trains on labels alone", fix="weight=0.9")
        if not self.teachers:
            refuse_unread(self, ("averages",), "one teacher needs no average", fix="teachers=(…)")
        if not isinstance(self.student, Mapping):
            refuse_unread(self, ("family",), "the student is a model already", fix="hyperparameters as student")

    def check(self, model: Any, schema: Schema) -> None:
        """Refuse what cannot be built or fed."""
        student = self.student_model(model, schema)
        require_learners(inlined(student), self.epochs, by=self.name)
        for teacher in self.teachers:
            loaded(teacher, schema, whose="teacher")
        hint_pairs(self.hints, inlined(model), student)

    def foreseen(self, model: Any, schema: Schema) -> Any:
        """The student, untrained."""
        return self.student_model(model, schema)

    def student_model(self, model: Any, schema: Schema, *, seed: int = 0) -> Any:
        """The student, untrained.

        Raises:
            PlanError: For a teacher of no known family, hyperparameters its family does not take, a model that the
                schema cannot feed, or one that cannot shrink.
        """
        return student_of(model, schema, self, seed=seed)

    def apply(self, candidate: Candidate, data: Splits, seed: int) -> Candidate:
        """Score the training rows once with the teachers, then train the student on them."""
        first = inlined(candidate.model)
        whole = whole_student(candidate.model, data.schema, self, seed=seed)
        filled = warm_start(whole, first, data.train, seed=seed) if self.warm_start else []
        student = cut(whole, data.schema, self)
        notes: dict[str, Any] = {
            "teacher_parameters": candidate.model.count_params(),
            "student_parameters": student.count_params(),
        }
        if self.warm_start:
            notes["warm_start"] = [name for name in filled if name in {layer.name for layer in student.layers}]
        teachers = [candidate.model, *(loaded(other, data.schema, whose="teacher") for other in self.teachers)]
        notes["teachers"] = len(teachers)
        targets = soft_targets(teachers, data.train, averages=self.averages, folder=self.cache)
        pairs = hint_pairs(self.hints, first, student)
        on_logits = _gives_logits(student)
        taught = keras.Model(student.inputs, student.get_layer("logit").output) if on_logits else student
        curve = HintCurve([hint_name(number) for number in range(len(pairs))])
        settings = FitSettings(
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            seed=seed,
            loss=DistillationLoss(self.weight, self.temperature, from_logits=on_logits),
            description="distilling",
            unknown_ids=self.unknown_ids,
            callbacks=(curve,) if pairs else (),
        )
        if pairs:
            taught = with_hints(taught, first, pairs, self.hint_weight)
        history = fit(taught, data, settings, train_split=targets)
        notes["hints"] = [_told(pair, hint_name(number), curve) for number, pair in enumerate(pairs)]
        return candidate.advance(self, student, notes={**notes, "fit": history.to_dict()}, curve=curve_of(history))

    def _settle_student(self) -> None:
        if self.shrink is not None:
            settings_of(self.shrink)
            object.__setattr__(self, "shrink", dict(self.shrink))
        if isinstance(self.student, Mapping):
            settings = {
                name: tuple(value) if isinstance(value, list) else value for name, value in self.student.items()
            }
            object.__setattr__(self, "student", settings)
        elif not is_given(self.student):
            raise PlanError(
                f"student is {self.student!r}. Expected hyperparameters by name, a functional model, or the path of "
                "one. Fix: Distill({'dimension': 8, 'hidden': (100, 100)})."
            )
        object.__setattr__(self, "without", names_of(self.without))
        if self.features is not None:
            object.__setattr__(self, "features", tuple(self.features))
            if self.without:
                raise PlanError("Distill was given features and without. Expected one of them. Fix: leave without out.")
            if self.shrink is not None or not isinstance(self.student, Mapping):
                raise PlanError(
                    "features choose what a student by hyperparameters reads. Expected no shrink and no model beside "
                    "them. Fix: Distill({'dimension': 8}, family='mlp', features=(…))."
                )
        if self.shrink is not None and (self.student != STUDENT or self.family):
            raise PlanError(
                "Distill was given a student and shrink. Expected one of them. Fix: Distill(shrink={'width': 0.5})."
            )
        fewer = bool(self.without) or self.features is not None  # which a later student would read again
        object.__setattr__(self, "makes", ("features",) if fewer else ())

    def _settle_hints(self) -> None:
        hints = {self.hints: self.hints} if isinstance(self.hints, str) else self.hints
        try:
            pairs = {str(teacher): str(student) for teacher, student in dict(hints).items()}
        except (TypeError, ValueError):
            raise PlanError(
                f"hints is {self.hints!r}. Expected layers of the teacher to layers of the student. "
                f"Fix: hints={{{LAST_HIDDEN!r}: {LAST_HIDDEN!r}}}."
            ) from None
        object.__setattr__(self, "hints", pairs)


def _gives_logits(student: Any) -> bool:
    """Whether a student has one output, the sigmoid of a layer called "logit".

    Of several targets, an output can be a product of probabilities without a logit.
    """
    if len(student.outputs) > 1 or "logit" not in {layer.name for layer in student.layers}:
        return False
    node = student.outputs[0]._keras_history
    read = node.layer._inbound_nodes[node.node_index].keras_inputs
    is_sigmoid = getattr(node.layer, "activation", None) is keras.activations.sigmoid and not node.layer.weights
    return bool(is_sigmoid and read[0]._keras_history.layer.name == "logit")


def _told(pair: HintPair, name: str, curve: HintCurve) -> dict[str, Any]:
    """A pair, and how far it was: the share of the teacher's mean square, in the first steps and by epoch."""
    distances = [epoch[name] for epoch in curve.epochs]
    return {"teacher": pair.teacher, "student": pair.student, "first": curve.first[name], "epochs": distances}
