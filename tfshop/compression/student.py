"""Who learns and who teaches: models given in Python, by path, or by hyperparameters."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tfshop._keras import keras
from tfshop.compression.drop_features import without_features
from tfshop.compression.shrink import shrink
from tfshop.compression.shrinkage import settings_of
from tfshop.data.schema import Schema
from tfshop.errors import ModelError, PlanError
from tfshop.models import MODELS, build_model, load_model
from tfshop.models.rebuild import called_on, is_submodel, rebuild
from tfshop.training.adoption import adopted
from tfshop.training.outputs import arrange_outputs


class Wanted(Protocol):
    """How a student is described; see `Distill`."""

    @property
    def student(self) -> Any:
        """Hyperparameters, a model, or a path."""

    @property
    def family(self) -> str | None:
        """Key of `MODELS`."""

    @property
    def features(self) -> tuple[str, ...] | None:
        """What it reads."""

    @property
    def without(self) -> tuple[str, ...]:
        """What it does not."""

    @property
    def shrink(self) -> Mapping[str, Any] | None:
        """How much smaller than the teacher it is."""


def is_given(value: object) -> bool:
    """Whether a value stands for a model: a functional Keras model, or the path of a saved one."""
    return isinstance(value, str | os.PathLike) or is_submodel(value)


def loaded(given: Any, schema: Schema, *, whose: str) -> Any:
    """A model given in Python or by path, flat, with its outputs in the order of the targets.

    Raises:
        PlanError: For one that cannot be loaded, or that the schema cannot feed.
    """
    try:
        model = load_model(given) if isinstance(given, str | os.PathLike) else given
        return adopted(arrange_outputs(model, schema), schema).model
    except ModelError as error:
        raise PlanError(f"Distill cannot use its {whose} {_called(given)}: {error}") from error


def student_of(teacher: Any, schema: Schema, wanted: Wanted, *, seed: int) -> Any:
    """The student, untrained; one that was given is copied.

    Raises:
        PlanError: For a student that cannot be built.
    """
    return cut(whole_student(teacher, schema, wanted, seed=seed), schema, wanted)


def cut(student: Any, schema: Schema, wanted: Wanted) -> Any:
    """A student without the features that it is to do without; its weights stay.

    Raises:
        PlanError: For features that it cannot do without.
    """
    return without_features(student, schema, wanted.without, by="Distill") if wanted.without else student


def whole_student(teacher: Any, schema: Schema, wanted: Wanted, *, seed: int) -> Any:
    """The student, untrained, with what it is to do without.

    Raises:
        PlanError: For a student that cannot be built.
    """
    if wanted.shrink is not None:
        return shrink(teacher, schema=schema, seed=seed, **vars(settings_of(wanted.shrink)))
    if not isinstance(wanted.student, Mapping):
        return rebuild(loaded(wanted.student, schema, whose="student"))
    try:
        read = schema if wanted.features is None else _part_of(schema, wanted.features)
        student = build_model(_family(teacher, wanted.family), read, seed=seed, **wanted.student)
    except ModelError as error:
        raise PlanError(f"Distill cannot build its student: {error}") from error
    return student if wanted.features is None else _by_feature(student, read)


def _part_of(schema: Schema, names: Sequence[str]) -> Schema:
    """The fitted schema with some of its features."""
    known = [feature.name for feature in schema.features]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise PlanError(
            f"features name {', '.join(unknown) or 'nothing'}, which the schema has not. Expected some of "
            f"{', '.join(known)}. Fix: Distill(features=({known[0]!r},))."
        )
    return schema.replace(features=tuple(feature for feature in schema.features if feature.name in names))


def _by_feature(model: Any, schema: Schema) -> Any:
    """The model with an input a feature where several lie in one: whoever serves it feeds only what it reads."""
    inputs: dict[str, Any] = {}
    packed: dict[str, Any] = {}
    for name, spec in schema.input_specs().items():
        columns: Sequence[Any] = {"ids": schema.id_columns, "numeric": schema.numeric_features}.get(name, ())
        if not columns:
            packed[name] = inputs[name] = keras.Input(spec.shape, dtype=spec.dtype, name=name)
            continue
        widths = Counter(feature.name for feature in columns)
        parts = [keras.Input((width,), dtype=spec.dtype, name=feature) for feature, width in widths.items()]
        inputs.update(zip(widths, parts, strict=True))
        packed[name] = parts[0] if len(parts) == 1 else keras.layers.Concatenate(name=f"{name}_columns")(parts)
    outputs = called_on(model, packed)
    return keras.Model(inputs, outputs if len(outputs) > 1 else outputs[0], name=model.name)


def names_of(given: Any) -> tuple[str, ...]:
    """Names of features that a student does without; raises `PlanError` unless several are given."""
    if not isinstance(given, tuple | list) or not all(isinstance(name, str) for name in given):
        raise PlanError(f"without is {given!r}. Expected names of features. Fix: without=('history',).")
    return tuple(given)


def require_teachers(teachers: Sequence[Any]) -> None:
    """Raise `PlanError` unless each is a functional model or a path."""
    for teacher in teachers:
        if not is_given(teacher):
            raise PlanError(
                f"teachers hold {teacher!r}. Expected functional tf_keras models, or paths of saved ones. "
                "Fix: Distill(teachers=(other_model, 'teachers/second.keras'))."
            )


def _family(model: Any, family: str | None) -> str:
    family = family or model.name
    if family not in MODELS:
        raise PlanError(
            f"Distill cannot tell the family of {model.name!r}. Expected one of {', '.join(MODELS)}. "
            "Fix: Distill(family='mlp'), Distill(shrink={'width': 0.5}), or a model as Distill(student)."
        )
    return family


def _called(given: Any) -> str:
    return repr(str(given)) if isinstance(given, str | os.PathLike) else repr(given.name)
