"""Training with the defaults that click networks want."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from os import PathLike
from typing import Any, Literal

from tfshop._console import say
from tfshop._keras import keras
from tfshop.data.split import Split, Splits
from tfshop.data.unknown_ids import unknown_more_often
from tfshop.errors import PlanError
from tfshop.training.checkpoints import (
    Beginning,
    BestOnDisk,
    Checkpoints,
    CheckpointWriter,
    Position,
    prepare_folder,
    restore,
)
from tfshop.training.checks import (
    require_finite_weights,
    require_functional,
    require_named_inputs,
    require_probabilities,
    require_trainable,
)
from tfshop.training.distribution import Workers
from tfshop.training.fingerprint import fingerprint
from tfshop.training.freed_memory import FreedMemoryKeeper
from tfshop.training.history import History
from tfshop.training.inputs import model_specs
from tfshop.training.lazy_adam import LazyAdam
from tfshop.training.noise import noise_by_step
from tfshop.training.outputs import arrange_outputs, outputs_note
from tfshop.training.progress import ProgressLine
from tfshop.training.scoring import SCORING_BATCH, predict
from tfshop.training.settings import STEPS_PER_EXECUTION, FitSettings
from tfshop.training.steps import trace_step_once
from tfshop.training.validation import ValidationWatcher

__all__ = ["SCORING_BATCH", "STEPS_PER_EXECUTION", "FitSettings", "fit", "predict", "train"]

NOT_IN_FINGERPRINT = ("epochs", "steps_per_execution", "description", "callbacks")  # these change no step


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
    unknown_ids: bool = False,
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
        unknown_ids: Read ids as unknown at random, as much more often as validation has unknown ones. Training hardly
            looks the row of unknown ids up, whose vocabulary it is; new products then rank by what is known of them.

    Returns:
        What happened, one row an epoch.

    Raises:
        ModelError: Where the model is not functional, is frozen, or its inputs or outputs are not those of the data.
        PlanError: For hyperparameters out of range, and where the checkpoint is that of another training.
        DataError: For a damaged checkpoint.

    Example:
        >>> history = train(model, data, epochs=2, checkpoint_dir="checkpoints/mlp")  # doctest: +SKIP

    References:
        Volkovs, Yu & Poutanen, DropoutNet: Addressing Cold Start in Recommender Systems, NeurIPS 2017 (`unknown_ids`).
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
        unknown_ids=unknown_ids,
    )
    checkpoints = None if checkpoint_dir is None else Checkpoints(checkpoint_dir, checkpoint_every, resume)
    workers = Workers(strategy)
    with workers.place(model) as placed:
        history = fit(arrange_outputs(placed, data.schema), data, settings, checkpoints=checkpoints, workers=workers)
    require_finite_weights(model)
    return history


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

    Raises:
        ModelError: Where all weights are frozen.
    """
    require_trainable(model)
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
        trace_step_once(model)
    watcher = ValidationWatcher(data.validation, settings, workers)
    position, writers = Position(), list[Any]()
    if checkpoints is not None:
        position, writers = _go_on(model, split, data.validation, watcher, checkpoints)
    if not watcher.done:
        unknown = unknown_more_often(split, data.validation) if settings.unknown_ids else None
        how = {"inputs": specs, "outputs": model.output_names, "unknown": unknown}
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
                callbacks=[beginning, watcher, *writers, FreedMemoryKeeper(), *settings.callbacks, bar],
            )
    return watcher.finish(model)


def _go_on(
    model: Any, split: Split, validation: Split, watcher: ValidationWatcher, checkpoints: Checkpoints
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
