"""Settings that nothing would read are refused: whoever gives one means something by it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, Field, fields
from typing import Any

from tfshop.errors import PlanError

OF_TRAINING = ("learning_rate", "distill")


def refuse_unread(step: Any, names: Iterable[str], why: str, *, fix: str) -> None:
    """Raise `PlanError` for a setting that nothing reads; one at its default counts as not given.

    Args:
        step: A dataclass that has been told its settings.
        names: Settings that nothing reads as the others are.
        why: Half a sentence that says so.
        fix: What makes it read.

    Example:
        >>> from tfshop.compression import Equalize
        >>> refuse_unread(Equalize(), ("by",), "no layer is scaled", fix="layers=True")
    """
    for item in fields(step):
        value = getattr(step, item.name)
        if item.name in names and value != _default(item):
            called = getattr(step, "name", type(step).__name__)
            raise PlanError(
                f"{called} was given {item.name}={value!r}, which would do nothing: {why}. Expected {item.name} left "
                f"out. Fix: {fix}, or leave {item.name} out."
            )


def refuse_unread_without_training(step: Any) -> None:
    """Raise `PlanError` for settings of a fine-tuning that is left out."""
    if step.epochs == 0:
        refuse_unread(step, OF_TRAINING, "epochs=0 trains nothing", fix="epochs=1")


def _default(item: Field[Any]) -> Any:
    return item.default if item.default_factory is MISSING else item.default_factory()
