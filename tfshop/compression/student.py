"""Who learns and who teaches: models given in Python, by path, or by hyperparameters."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from tfshop.compression.shrink import settings_of, shrink
from tfshop.data.schema import Schema
from tfshop.errors import ModelError, PlanError
from tfshop.models import MODELS, build_model, load_model
from tfshop.models.rebuild import is_submodel, rebuild
from tfshop.training.adoption import adopted
from tfshop.training.outputs import arrange_outputs


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


def student_of(
    teacher: Any, schema: Schema, *, student: Any, family: str | None, smaller: Mapping[str, Any] | None, seed: int
) -> Any:
    """The student, untrained; one that was given is copied.

    Raises:
        PlanError: For a student that cannot be built.
    """
    if smaller is not None:
        return shrink(teacher, schema=schema, seed=seed, **vars(settings_of(smaller)))
    if not isinstance(student, Mapping):
        return rebuild(loaded(student, schema, whose="student"))
    try:
        return build_model(_family(teacher, family), schema, seed=seed, **student)
    except ModelError as error:
        raise PlanError(f"Distill cannot build its student: {error}") from error


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
