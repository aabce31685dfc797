"""A progress line for `model.fit`, on a terminal as in a log."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from tfshop import _console
from tfshop._keras import keras


class ProgressLine(keras.callbacks.Callback):
    """Show steps, loss and validation AUC of a running `fit`.

    Args:
        description: What is being trained.
        steps: Steps of all epochs together.
        done: Steps of the epochs that were trained before.
    """

    def __init__(self, description: str, steps: int, done: int = 0) -> None:
        super().__init__()
        self._description = description
        self._steps = steps
        self._done = done
        self._stack = ExitStack()
        self._seen = 0

    def on_train_begin(self, logs: Any = None) -> None:
        """Open the line."""
        self._advance = self._stack.enter_context(_console.progress(self._description, self._steps))
        self._advance(self._done)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Forget the step of the epoch before."""
        self._seen = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Advance; `batch` jumps where several steps run in one call."""
        done, self._seen = batch + 1 - self._seen, batch + 1
        self._advance(done, note=_note(logs))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Show validation figures when they are there."""
        self._advance(0, note=_note(logs))

    def on_train_end(self, logs: Any = None) -> None:
        """Close the line."""
        self._stack.close()


class PredictionLine(keras.callbacks.Callback):
    """Show how far a running `predict` is.

    Args:
        description: What is being scored.
        steps: Batches to score.
    """

    def __init__(self, description: str, steps: int) -> None:
        super().__init__()
        self._description = description
        self._steps = steps
        self._stack = ExitStack()
        self._seen = 0

    def on_predict_begin(self, logs: Any = None) -> None:
        """Open the line."""
        self._advance = self._stack.enter_context(_console.progress(self._description, self._steps))

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        """Advance; `batch` jumps where several steps run in one call."""
        done, self._seen = batch + 1 - self._seen, batch + 1
        self._advance(done)

    def on_predict_end(self, logs: Any = None) -> None:
        """Close the line."""
        self._stack.close()


def _note(logs: Any) -> str:
    shown = {"loss": "loss", "validation_auc": "AUC", "sparsity": "sparsity"}
    return "  ".join(f"{label} {logs[key]:.4f}" for key, label in shown.items() if logs and key in logs)
