"""How a training is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tfshop.errors import PlanError

STEPS_PER_EXECUTION = 8  # fewer trips through Python; callbacks see every eighth step


@dataclass(frozen=True)
class FitSettings:
    """How to fit.

    Args:
        epochs: Passes over the training split.
        learning_rate: Step size of `LazyAdam`.
        seed: Seed of the order of rows.
        patience: Epochs without a better validation AUC before training stops; None for never.
        loss: Keras loss on each of the model's outputs; binary cross-entropy by default.
        loss_weights: Target to its weight in the sum of the losses; 1 for those not named.
        keep_best: Whether the weights of the best epoch are kept rather than the last ones.
        steps_per_execution: Steps that run in one call.
        description: What the progress line says.
        unknown_ids: Whether ids are read as unknown at random, as much more often as validation has unknown ones.
    """

    epochs: int = 2
    learning_rate: float = 1e-3
    seed: int = 0
    patience: int | None = 1
    loss: Any = "binary_crossentropy"
    keep_best: bool = True
    steps_per_execution: int = STEPS_PER_EXECUTION
    description: str = "training"
    callbacks: Sequence[Any] = field(default=())
    loss_weights: Mapping[str, float] | None = None
    unknown_ids: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.epochs, int) or self.epochs < 1:
            raise PlanError(f"epochs is {self.epochs!r}. Expected at least 1. Fix: epochs=2.")
        if isinstance(self.learning_rate, float | int) and not self.learning_rate > 0:
            raise PlanError(
                f"learning_rate is {self.learning_rate}. Expected a number above 0. Fix: learning_rate=1e-3."
            )
        if not isinstance(self.unknown_ids, bool):
            raise PlanError(f"unknown_ids is {self.unknown_ids!r}. Expected True or False. Fix: unknown_ids=True.")
