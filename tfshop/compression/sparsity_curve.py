"""How sparsity rose while a model was pruned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tfshop._keras import keras
from tfshop.training import History

CURVE_POINTS = 100


class SparsityCurve(keras.callbacks.Callback):
    """Record loss and the share of masked weights every few steps.

    Args:
        steps: Steps of the whole training.
        share: Gives the share of masked weights.
    """

    def __init__(self, steps: int, share: Callable[[], float]) -> None:
        super().__init__()
        self._every = max(1, steps // CURVE_POINTS)
        self._share = share
        self._step = 0
        self._rows: list[dict[str, float]] = []
        self._epochs: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Record one row where it is due."""
        self._step += 1
        if self._step % self._every == 0 or self._step == 1:
            self._rows.append({"step": self._step, "loss": float(logs["loss"]), "sparsity": self._share()})
        if self._rows:
            logs["sparsity"] = self._rows[-1]["sparsity"]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Keep the sparsity of the epoch."""
        self._epochs.append(self._share())

    def with_validation(
        self, history: History, stages: Sequence[Mapping[str, float]] = ()
    ) -> tuple[Mapping[str, float], ...]:
        """The rows with their place in epochs, and one more an epoch and a stage that holds the validation AUC."""
        steps_per_epoch = self._step / len(history.epochs)
        during = [{**row, "epoch": row["step"] / steps_per_epoch} for row in (*self._rows, *stages)]
        ends = [
            {
                "step": row.epoch * steps_per_epoch,
                "epoch": float(row.epoch),
                "loss": row.loss,
                "sparsity": sparsity,
                "validation_auc": row.validation_auc,
            }
            for row, sparsity in zip(history.epochs, self._epochs, strict=True)
        ]
        return tuple(sorted([*during, *ends], key=lambda row: row["step"]))
