"""Hyperparameters and schemas that a network cannot work with, refused before anything is built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop.data.schema import Schema
from tfshop.errors import ModelError


def require_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise `ModelError` unless the hyperparameter is one of its choices."""
    if value not in choices:
        raise ModelError(f"{name} is {value!r}. Expected one of {', '.join(choices)}. Fix: {name}={choices[0]!r}.")


def require_count(name: str, value: object, *, fewest: int = 1) -> None:
    """Raise `ModelError` unless the hyperparameter is a whole number, not below the fewest."""
    if not isinstance(value, int) or isinstance(value, bool) or value < fewest:
        raise ModelError(
            f"{name} is {value!r}. Expected an integer of at least {fewest}. Fix: {name}={max(fewest, 3)}."
        )


def require_widths(name: str, value: Any) -> None:
    """Raise `ModelError` unless the hyperparameter is a sequence of widths, at least one of them."""
    widths = value if isinstance(value, Sequence) and not isinstance(value, str) else ()
    if not widths or any(not isinstance(width, int) or width < 1 for width in widths):
        raise ModelError(f"{name} is {value!r}. Expected widths of at least 1. Fix: {name}=(400, 400).")


def require_share(name: str, value: object) -> None:
    """Raise `ModelError` unless the hyperparameter is a share in [0, 1)."""
    if not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise ModelError(f"{name} is {value!r}. Expected a share in [0, 1). Fix: {name}=0.2.")


def require_positive(name: str, value: object) -> None:
    """Raise `ModelError` unless the hyperparameter is a number above 0."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not value > 0:
        raise ModelError(f"{name} is {value!r}. Expected a number above 0. Fix: {name}=1.0.")


def require_embedded(network: str, fields: Any, *, fewest: int) -> None:
    """Raise `ModelError` for fewer fields than the network multiplies."""
    found = 0 if fields is None else fields.shape[1]
    if found < fewest:
        raise ModelError(
            f"{network} multiplies fields with one another, but this schema gives it {found}. Expected at least "
            f"{fewest}. Fix: add IdFeature, SequenceFeature or VectorFeature columns, or build_model('mlp', …)."
        )


def require_fields(schema: Schema, network: str, at_least: int = 2) -> None:
    """Refuse a schema with too few fields for a network of their products; ids, sequences and vectors are fields.

    Raises:
        ModelError: With the number found.
    """
    found = num_fields(schema)
    if found < at_least:
        raise ModelError(
            f"{network} works on fields, and the schema has {found}: numbers are none. Expected {at_least} or more id, "
            "sequence or vector features. Fix: build_model('mlp', …), which takes any schema."
        )


def num_fields(schema: Schema) -> int:
    """Fields that `embed_fields` makes of a schema: ids, sequences and vectors."""
    return len(schema.id_features) + len(schema.sequence_features) + len(schema.vector_features)
