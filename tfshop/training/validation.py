"""What is done after each epoch: validation scored, the best weights kept, an end made where nothing is gained."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import log_loss, roc_auc_score

from tfshop._keras import keras
from tfshop.data.split import Split
from tfshop.errors import DataError
from tfshop.training.checkpoints import BestInMemory, BestWeights
from tfshop.training.distribution import Workers
from tfshop.training.history import Epoch, History
from tfshop.training.scoring import columns_of
from tfshop.training.settings import FitSettings


class ValidationWatcher(keras.callbacks.Callback):
    """Score validation after each epoch, keep the best weights, stop when nothing is gained."""

    def __init__(self, validation: Split, settings: FitSettings, workers: Workers) -> None:
        super().__init__()
        self._validation = validation
        self._labels = validation.labels_by_target
        self._schema = validation.schema
        self.settings = settings
        self.workers = workers
        self.best: BestWeights = BestInMemory()
        self._rows: list[Epoch] = []
        self._best = 0
        self._stopped = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Look at the clock."""
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Score validation, and decide.

        Raises:
            DataError: Where training diverged.
        """
        scores = self._probabilities()
        if not np.isfinite(scores).all():
            raise DataError(
                f"training of {self.model.name!r} diverged: after epoch {epoch + 1} some scores are not finite. "
                "Expected probabilities. Fix: a smaller learning_rate, or transform='standard' for raw numerics."
            )
        by_target = self._schema.by_target(scores)
        aucs = {target: float(roc_auc_score(labels, by_target[target])) for target, labels in self._labels.items()}
        losses = [log_loss(labels, np.clip(by_target[t], 1e-7, 1 - 1e-7)) for t, labels in self._labels.items()]
        row = Epoch(
            epoch=epoch + 1,
            loss=float(logs["loss"]),
            validation_auc=float(np.mean(list(aucs.values()))),
            validation_log_loss=float(np.mean(losses)),
            seconds=time.perf_counter() - self._start,
            target_aucs=aucs if len(aucs) > 1 else {},
        )
        logs["validation_auc"] = row.validation_auc
        self._rows.append(row)
        if self.settings.keep_best:
            self._keep(row)

    def _probabilities(self) -> NDArray[np.float64]:
        found = self.workers.scores(self.model, self._validation)
        scores = columns_of(found).astype(np.float64)
        on_logits = getattr(self.settings.loss, "name", "") == "distillation" and self.settings.loss.from_logits
        return 1.0 / (1.0 + np.exp(-scores)) if on_logits else scores

    def _keep(self, row: Epoch) -> None:
        if not self._best or row.validation_auc > self._rows[self._best - 1].validation_auc:
            self._best = row.epoch
            self.best.keep(row.epoch, self.model.weights, last=row.epoch == self.settings.epochs)
        elif self.settings.patience is not None and row.epoch - self._best >= self.settings.patience:
            self._stopped = row.epoch < self.settings.epochs
            self.model.stop_training = True

    @property
    def done(self) -> bool:
        """Whether no epoch is left to train."""
        return self._stopped or len(self._rows) >= self.settings.epochs

    def state(self) -> dict[str, Any]:
        """What a checkpoint has to hold."""
        return {"epochs": [asdict(row) for row in self._rows], "best": self._best, "stopped": self._stopped}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state`."""
        self._rows = [Epoch(**row) for row in state["epochs"]]
        self._best, self._stopped = state["best"], state["stopped"]

    def finish(self, model: Any) -> History:
        """Put the best weights back and tell what happened."""
        if self._best and self._best != len(self._rows):
            self.best.put_back(self._best, model.weights)
        return History(tuple(self._rows), kept_epoch=self._best or len(self._rows), stopped_early=self._stopped)
