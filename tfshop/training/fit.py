"""Training with the defaults that click networks want."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from os import PathLike
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import log_loss, roc_auc_score

from tfshop._console import say
from tfshop._keras import keras
from tfshop.data.split import Split, Splits
from tfshop.errors import DataError, PlanError
from tfshop.training.checkpoints import (
    Beginning,
    BestInMemory,
    BestOnDisk,
    BestWeights,
    Checkpoints,
    CheckpointWriter,
    Position,
    prepare_folder,
    restore,
)
from tfshop.training.checks import require_functional, require_named_inputs, require_probabilities
from tfshop.training.distribution import Workers
from tfshop.training.fingerprint import fingerprint
from tfshop.training.history import Epoch, History
from tfshop.training.inputs import model_specs
from tfshop.training.lazy_adam import LazyAdam
from tfshop.training.noise import noise_by_step
from tfshop.training.outputs import arrange_outputs, outputs_note
from tfshop.training.progress import PredictionLine, ProgressLine

SCORING_BATCH = 8192
NOT_IN_FINGERPRINT = ("epochs", "steps_per_execution", "description", "callbacks")  # these change no step
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

    def __post_init__(self) -> None:
        if not isinstance(self.epochs, int) or self.epochs < 1:
            raise PlanError(f"epochs is {self.epochs!r}. Expected at least 1. Fix: epochs=2.")
        if isinstance(self.learning_rate, float | int) and not self.learning_rate > 0:
            raise PlanError(
                f"learning_rate is {self.learning_rate}. Expected a number above 0. Fix: learning_rate=1e-3."
            )


def train(  # noqa: PLR0913  (the whole surface of a training, all of it by keyword)
    model: Any,
    data: Splits,
    *,
    epochs: int = 2,
    learning_rate: float = 1e-3,
    patience: int = 1,
    seed: int = 0,
    callbacks: Sequence[Any] = (),
    loss_weights: Mapping[str, float] | None = None,
    checkpoint_dir: str | PathLike[str] | None = None,
    checkpoint_every: int | Literal["epoch"] = "epoch",
    resume: bool = True,
    strategy: Any = None,
) -> History:
    """Train a click network in place: lazy Adam, early stopping on validation AUC, the best weights kept.

    Of several targets the losses are added up, and the mean of the validation AUCs decides.

    The same can be had from plain Keras: `model.compile(LazyAdam(), "binary_crossentropy")` and
    `model.fit(data.train.batches(shuffle=True), …)`.

    Args:
        model: Functional tf_keras model with one sigmoid output a target, as `build_model` makes it.
        data: As `prepare` returns it; the test split is not read.
        epochs: Most epochs to train.
        learning_rate: Step size.
        patience: Epochs without a better validation AUC before training stops.
        seed: Seed of the order of rows and of dropout.
        callbacks: Any Keras callbacks, TensorBoard among them; what they remember is not in a checkpoint.
        loss_weights: Target to its weight in the sum of the losses; 1 for those not named.
        checkpoint_dir: Folder for checkpoints; None for none. A training that was killed and is started again with
            the same arguments ends with the same weights, bit for bit, on one worker with the same number of threads.
        checkpoint_every: Optimizer steps between two checkpoints, or "epoch"; an epoch always ends with one.
        resume: Go on from the last checkpoint; False removes those that are there.
        strategy: A synchronous `tf.distribute` strategy. The batch is that of all replicas together: each reads its
            share. A model built outside of `strategy.scope()` is copied into it, which takes its memory again.

    Returns:
        What happened, one row an epoch.

    Raises:
        ModelError: Where the model is not functional, or its inputs or outputs are not those of the data.
        PlanError: For hyperparameters out of range, and where the checkpoint is that of another training.
        DataError: For a damaged checkpoint.

    Example:
        >>> history = train(model, data, epochs=2, checkpoint_dir="checkpoints/mlp")  # doctest: +SKIP
    """
    require_functional(model)
    require_named_inputs(model)
    arrange_outputs(model, data.schema)  # before anything is said or built: it refuses what cannot be taken
    require_probabilities(model)
    if note := outputs_note(model, data.schema):
        say(f"{model.name}: {note}")
    settings = FitSettings(
        epochs=epochs,
        learning_rate=learning_rate,
        seed=seed,
        patience=patience,
        callbacks=callbacks,
        description=f"training {getattr(model, 'name', 'model')}",
        loss_weights=loss_weights,
    )
    checkpoints = None if checkpoint_dir is None else Checkpoints(checkpoint_dir, checkpoint_every, resume)
    workers = Workers(strategy)
    with workers.place(model) as placed:
        return fit(arrange_outputs(placed, data.schema), data, settings, checkpoints=checkpoints, workers=workers)


def fit(
    model: Any,
    data: Splits,
    settings: FitSettings,
    *,
    train_split: Split | None = None,
    checkpoints: Checkpoints | None = None,
    workers: Workers | None = None,
) -> History:
    """Fit `model` in place along `settings`.

    Args:
        model: Functional model, its outputs in the order of the targets; trained in place.
        data: Splits; validation decides on early stopping.
        settings: How to fit.
        train_split: Rows to train on, where they are not `data.train` (soft targets, say).
        checkpoints: Where the training is written down, and gone on with.
        workers: Who trains together; `model` has to be one that they `place`.
    """
    split, workers = train_split or data.train, workers or Workers()
    specs = model_specs(model)
    keras.utils.set_random_seed(settings.seed)
    model.train_function = model.train_tf_function = None  # compile alone would keep it, and with it its moments
    with workers.scope():
        model.compile(
            optimizer=LazyAdam(settings.learning_rate),
            loss=settings.loss,
            loss_weights=_loss_weights(settings, data.schema.targets),
            steps_per_execution=min(settings.steps_per_execution, split.num_batches),
        )
        model.optimizer.build(model.trainable_variables)  # else Keras traces the step once to make them, and again
    watcher = _ValidationWatcher(data.validation, specs, settings, workers)
    position, writers = Position(), list[Any]()
    if checkpoints is not None:
        position, writers = _go_on(model, split, data.validation, watcher, checkpoints)
    if not watcher.done:
        how = {"inputs": specs, "outputs": model.output_names}
        read = partial(split.batches, shuffle=True, seed=settings.seed, repeat=True, **how)
        feed = workers.feed(partial(read, first_epoch=position.epoch, skip=position.step), split.batch_size)
        bar = ProgressLine(
            settings.description, settings.epochs * split.num_batches, done=position.epoch * split.num_batches
        )
        beginning = Beginning(position)
        with noise_by_step(model, settings.seed), beginning.of(model):
            model.fit(
                feed,
                steps_per_epoch=split.num_batches,
                epochs=settings.epochs,
                verbose=0,
                callbacks=[beginning, watcher, *writers, *settings.callbacks, bar],
            )
    return watcher.finish(model)


def _go_on(
    model: Any, split: Split, validation: Split, watcher: _ValidationWatcher, checkpoints: Checkpoints
) -> tuple[Position, list[Any]]:
    """Restore the last checkpoint, and say who writes the next."""
    workers, settings = watcher.workers, watcher.settings
    watcher.best = BestOnDisk(checkpoints.place, writes=workers.is_chief)
    if workers.is_chief:
        prepare_folder(checkpoints)
    kept = {name: value for name, value in vars(settings).items() if name not in NOT_IN_FINGERPRINT}
    prints = fingerprint(model, split, validation, kept)
    with workers.scope():
        position = restore(checkpoints, prints, model, watcher)
    workers.require_same(int(model.optimizer.iterations.numpy()), "steps in their checkpoints")
    return position, [CheckpointWriter(checkpoints, prints, watcher, writes=workers.is_chief, position=position)]


def predict(model: Any, split: Split, *, description: str | None = None) -> NDArray[np.float32]:
    """Score a split with a Keras model, float32 (rows,), in the order of the split; (rows, targets) of several."""
    model = arrange_outputs(model, split.schema)
    batches = split.with_batch_size(SCORING_BATCH).batches(inputs=model_specs(model))
    bar = [] if description is None else [PredictionLine(description, -(-split.num_rows // SCORING_BATCH))]
    return _columns(model.predict(batches, verbose=0, callbacks=bar))


def _columns(scores: Any) -> NDArray[np.float32]:
    """What Keras predicts as (rows,) of one output, (rows, outputs) of several."""
    if isinstance(scores, list):
        return np.concatenate([part.reshape(-1, 1) for part in scores], axis=1).astype(np.float32)
    return np.asarray(scores, dtype=np.float32).ravel()


def _loss_weights(settings: FitSettings, targets: Sequence[str]) -> list[float] | None:
    """Weights in the order of the targets."""
    if settings.loss_weights is None:
        return None
    unknown = sorted(set(settings.loss_weights) - set(targets))
    bad = {name: value for name, value in settings.loss_weights.items() if not value >= 0}
    if unknown or bad or not any(settings.loss_weights.get(target, 1.0) for target in targets):
        raise PlanError(
            f"loss_weights is {dict(settings.loss_weights)}. Expected numbers of at least 0, one of them above, by "
            f"target: {', '.join(targets)}. Fix: loss_weights={{{targets[0]!r}: 1.0}}."
        )
    return [float(settings.loss_weights.get(target, 1.0)) for target in targets]


class _ValidationWatcher(keras.callbacks.Callback):
    """Score validation after each epoch, keep the best weights, stop when nothing is gained."""

    def __init__(self, validation: Split, specs: Any, settings: FitSettings, workers: Workers) -> None:
        super().__init__()
        self._batches = validation.with_batch_size(SCORING_BATCH).batches(inputs=specs)
        self._labels = validation.labels_by_target
        self._schema = validation.schema
        self._num_rows = validation.num_rows
        self.settings = settings
        self.workers = workers
        self.best: BestWeights = BestInMemory()
        self._rows: list[Epoch] = []
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
        found = self.workers.scores(self.model, self._batches, self._num_rows)
        scores = _columns(found).astype(np.float64)
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
