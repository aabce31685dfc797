"""Training with the defaults that click networks want."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import log_loss, roc_auc_score

from tfshop._keras import keras
from tfshop.data.split import Split, Splits
from tfshop.errors import DataError, PlanError
from tfshop.training.checks import require_functional, require_named_inputs
from tfshop.training.history import Epoch, History
from tfshop.training.inputs import model_specs
from tfshop.training.lazy_adam import LazyAdam
from tfshop.training.progress import PredictionLine, ProgressLine

SCORING_BATCH = 8192
STEPS_PER_EXECUTION = 8  # fewer trips through Python; callbacks see every eighth step


@dataclass(frozen=True)
class FitSettings:
    """How to fit.

    Args:
        epochs: Passes over the training split.
        learning_rate: Step size of `LazyAdam`.
        seed: Seed of the order of rows.
        patience: Epochs without a better validation AUC before training stops; None for never.
        loss: Keras loss on the model's output; binary cross-entropy by default.
        keep_best: Whether the weights of the best epoch are kept rather than the last ones.
        steps_per_execution: Steps that run in one call.
        description: What the progress line says.
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

    def __post_init__(self) -> None:
        if not isinstance(self.epochs, int) or self.epochs < 1:
            raise PlanError(f"epochs is {self.epochs!r}. Expected at least 1. Fix: epochs=2.")
        if isinstance(self.learning_rate, float | int) and not self.learning_rate > 0:
            raise PlanError(
                f"learning_rate is {self.learning_rate}. Expected a number above 0. Fix: learning_rate=1e-3."
            )


def train(
    model: Any,
    data: Splits,
    *,
    epochs: int = 2,
    learning_rate: float = 1e-3,
    patience: int = 1,
    seed: int = 0,
    callbacks: Sequence[Any] = (),
) -> History:
    """Train a click network in place: lazy Adam, early stopping on validation AUC, the best weights kept.

    The same can be had from plain Keras: `model.compile(LazyAdam(), "binary_crossentropy")` and
    `model.fit(data.train.batches(shuffle=True), …)`.

    Args:
        model: Functional tf_keras model with one sigmoid output, as `build_model` makes it.
        data: As `prepare` returns it; the test split is not read.
        epochs: Most epochs to train.
        learning_rate: Step size.
        patience: Epochs without a better validation AUC before training stops.
        seed: Seed of the order of rows.
        callbacks: Any Keras callbacks, TensorBoard among them.

    Returns:
        What happened, one row an epoch.

    Raises:
        ModelError: Where the model is not functional or its inputs are not those of the data.
        PlanError: For hyperparameters out of range.

    Example:
        >>> history = train(model, data, epochs=2)  # doctest: +SKIP
    """
    require_functional(model)
    require_named_inputs(model)
    settings = FitSettings(
        epochs=epochs,
        learning_rate=learning_rate,
        seed=seed,
        patience=patience,
        callbacks=callbacks,
        description=f"training {getattr(model, 'name', 'model')}",
    )
    return fit(model, data, settings)


def fit(model: Any, data: Splits, settings: FitSettings, *, train_split: Split | None = None) -> History:
    """Fit `model` in place along `settings`.

    Args:
        model: Functional model; trained in place.
        data: Splits; validation decides on early stopping.
        settings: How to fit.
        train_split: Rows to train on, where they are not `data.train` (soft targets, say).
    """
    split = train_split or data.train
    specs = model_specs(model)
    keras.utils.set_random_seed(settings.seed)
    model.compile(
        optimizer=LazyAdam(settings.learning_rate),
        loss=settings.loss,
        steps_per_execution=min(settings.steps_per_execution, split.num_batches),
    )
    watcher = _ValidationWatcher(data.validation, specs, settings)
    bar = ProgressLine(settings.description, settings.epochs * split.num_batches)
    batches = split.batches(shuffle=True, seed=settings.seed, inputs=specs)
    model.fit(batches, epochs=settings.epochs, verbose=0, callbacks=[watcher, *settings.callbacks, bar])
    return watcher.finish()


def predict(model: Any, split: Split, *, description: str | None = None) -> NDArray[np.float32]:
    """Score a split with a Keras model, float32 (rows,), in the order of the split."""
    batches = split.with_batch_size(SCORING_BATCH).batches(inputs=model_specs(model))
    bar = [] if description is None else [PredictionLine(description, -(-split.num_rows // SCORING_BATCH))]
    scores: NDArray[np.float32] = np.asarray(model.predict(batches, verbose=0, callbacks=bar), dtype=np.float32)
    return scores.ravel()


class _ValidationWatcher(keras.callbacks.Callback):
    """Score validation after each epoch, keep the best weights, stop when nothing is gained."""

    def __init__(self, validation: Split, specs: Any, settings: FitSettings) -> None:
        super().__init__()
        self._batches = validation.with_batch_size(SCORING_BATCH).batches(inputs=specs)
        self._labels = validation.labels
        self._settings = settings
        self._rows: list[Epoch] = []
        self._best_weights: list[np.ndarray] | None = None
        self._best = 0
        self._stopped = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        scores = self._probabilities()
        if not np.isfinite(scores).all():
            raise DataError(
                f"training of {self.model.name!r} diverged: after epoch {epoch + 1} some scores are not finite. "
                "Expected probabilities. Fix: a smaller learning_rate, or transform='standard' for raw numerics."
            )
        row = Epoch(
            epoch=epoch + 1,
            loss=float(logs["loss"]),
            validation_auc=float(roc_auc_score(self._labels, scores)),
            validation_log_loss=float(log_loss(self._labels, np.clip(scores, 1e-7, 1 - 1e-7))),
            seconds=time.perf_counter() - self._start,
        )
        logs["validation_auc"] = row.validation_auc
        self._rows.append(row)
        if self._settings.keep_best:
            self._keep(row)

    def _probabilities(self) -> NDArray[np.float64]:
        scores: NDArray[np.float64] = self.model.predict(self._batches, verbose=0).ravel().astype(np.float64)
        on_logits = getattr(self._settings.loss, "name", "") == "distillation"
        return 1.0 / (1.0 + np.exp(-scores)) if on_logits else scores

    def _keep(self, row: Epoch) -> None:
        if not self._best or row.validation_auc > self._rows[self._best - 1].validation_auc:
            self._best = row.epoch
            self._best_weights = self.model.get_weights()
        elif self._settings.patience is not None and row.epoch - self._best >= self._settings.patience:
            self._stopped = row.epoch < self._settings.epochs
            self.model.stop_training = True

    def finish(self) -> History:
        """Put the best weights back and tell what happened."""
        if self._best_weights is not None and self._best != len(self._rows):
            self.model.set_weights(self._best_weights)
        return History(tuple(self._rows), kept_epoch=self._best or len(self._rows), stopped_early=self._stopped)
