"""Codecs of what people write, and of what plans in JSON hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from tfshop.errors import PlanError
from tfshop.tables import CODECS, Codec


def codec_of(value: Any) -> Any:
    """A codec, or codecs by the names of features and layers.

    A mapping is one of names, unless it can only be a codec as JSON has it: all its keys are "name" and settings of
    the codec of that name, and the value of some is no codec, as in {"name": "Int4", "scale": "row"}.

    Raises:
        PlanError: For anything else.

    Example:
        >>> sorted(codec_of({"name": "Int8", "shop": "Int2"}))
        ['name', 'shop']
    """
    if isinstance(value, Mapping) and value and not _is_codec_alone(value):
        return {str(key): one_codec(item) for key, item in value.items()}
    return one_codec(value)


def one_codec(value: Any) -> Any:
    """A codec: one itself, its name in `CODECS`, or what JSON has of it.

    Raises:
        PlanError: For anything else.
    """
    if _is_codec(value):
        return value
    if isinstance(value, str) and value in CODECS:
        return CODECS[value]()
    if kind := _kind(value):
        try:
            return CODECS[kind](**{key: _setting(item) for key, item in value.items() if key != "name"})
        except TypeError as error:
            raise PlanError(f"{kind} cannot be made of {dict(value)}: {error}. Fix: {kind}().") from error
    raise PlanError(
        f"codec is {value!r}. Expected a codec such as Int4(), one of {', '.join(CODECS)}, or for all tables at once a "
        "mapping of features or layers to them. Fix: Int4()."
    )


def codec_in_plan(value: Any) -> Any:
    """What a pass is to be given for the codec that a plan in JSON holds.

    A plan writes codecs out: there {"name": "Float16"} is that codec, and not one for a feature called "name".
    """
    return one_codec(value) if _kind(value) and set(value) == {"name"} else value


def _is_codec(value: Any) -> bool:
    return isinstance(value, Codec) and not isinstance(value, type)


def _kind(value: Any) -> str | None:
    """The key in `CODECS` of what JSON may have of a codec; None for anything else."""
    kind = value.get("name") if isinstance(value, Mapping) else None
    return kind if isinstance(kind, str) and kind in CODECS else None


def _is_codec_alone(value: Mapping[Any, Any]) -> bool:
    """Whether a mapping cannot be one of names to codecs."""
    kind = _kind(value)
    if kind is None or not set(value) <= {"name", *(item.name for item in fields(CODECS[kind]))}:
        return False
    return not all(_is_codec(item) or _kind(item) or _kind({"name": item}) for item in value.values())


def _setting(value: Any) -> Any:
    """A hyperparameter of a codec, which may be a codec or hold some."""
    if isinstance(value, list | tuple):
        return tuple(map(_setting, value))
    return one_codec(value) if _kind(value) else value
