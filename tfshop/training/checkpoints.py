"""Checkpoints of a running training, and going on from the last one after a kill."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from tfshop._console import say
from tfshop._keras import keras
from tfshop.errors import PlanError
from tfshop.training import checkpoint_files as files
from tfshop.training.fingerprint import Fingerprint
from tfshop.training.weights import Snapshot


@dataclass(frozen=True)
class Checkpoints:
    """Where and how often a training is written down.

    Args:
        folder: Holds the last two checkpoints and the best weights; made where it is missing. Several workers need
            the same one, on a shared disk.
        every: Optimizer steps between two checkpoints, or "epoch". An epoch always ends with one.
        resume: Go on from the last checkpoint in the folder; False removes what is there and begins anew.

    Raises:
        PlanError: For another `every`, or a folder that is a file.

    Example:
        >>> Checkpoints("checkpoints/mlp", every=1000).resume
        True
    """

    folder: str | os.PathLike[str]
    every: int | Literal["epoch"] = "epoch"
    resume: bool = True

    def __post_init__(self) -> None:
        steps = isinstance(self.every, int) and not isinstance(self.every, bool) and self.every >= 1
        if self.every != "epoch" and not steps:
            raise PlanError(
                f"checkpoint_every is {self.every!r}. Expected steps, at least 1, or 'epoch'. "
                "Fix: checkpoint_every='epoch'."
            )
        if Path(self.folder).exists() and not Path(self.folder).is_dir():
            raise PlanError(f"checkpoint_dir {self.folder} is a file. Expected a folder. Fix: give another name.")

    @property
    def place(self) -> Path:
        """The folder as a path."""
        return Path(self.folder)


@dataclass(frozen=True)
class Position:
    """How far a training is: whole epochs, steps of the next one, and that one's metrics so far."""

    epoch: int = 0
    step: int = 0
    metrics: tuple[float, ...] = ()


class BestWeights(Protocol):
    """Keeps the weights of one epoch."""

    def keep(self, epoch: int, variables: Sequence[Any], *, last: bool) -> None:
        """Remember the weights of now as those of an epoch, the last that is planned or one before."""

    def put_back(self, epoch: int, variables: Sequence[Any]) -> None:
        """Give variables the weights of the epoch that was kept."""


class Judge(Protocol):
    """What decides on early stopping, as far as it has to be written down."""

    @property
    def done(self) -> bool:
        """Whether no epoch is left to train."""

    def state(self) -> dict[str, Any]:
        """Plain data: what happened, and which epoch was the best."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state`."""


class BestInMemory:
    """The weights of the best epoch, in arrays beside the model."""

    def __init__(self) -> None:
        self._snapshot = Snapshot()

    def keep(self, epoch: int, variables: Sequence[Any], *, last: bool) -> None:
        """Overwrite what was kept before; after the last epoch the model itself holds them."""
        if not last:
            self._snapshot.take(variables)

    def put_back(self, epoch: int, variables: Sequence[Any]) -> None:
        """Restore them."""
        self._snapshot.put_back(variables)


class BestOnDisk:
    """The weights of the best epoch, beside the checkpoints; one worker writes them.

    Args:
        place: Folder of the checkpoints.
        writes: Whether this worker is the one.
    """

    def __init__(self, place: Path, *, writes: bool) -> None:
        self._place = place
        self._writes = writes

    def keep(self, epoch: int, variables: Sequence[Any], *, last: bool) -> None:
        """Write them, after the last epoch too: more may be asked for later."""
        if self._writes:
            files.write_folder(files.best_folder(self._place, epoch), variables, {"epoch": epoch})
        else:
            files.read_averaged(variables)

    def put_back(self, epoch: int, variables: Sequence[Any]) -> None:
        """Read them."""
        files.read_variables(files.best_folder(self._place, epoch), variables)


class CheckpointWriter(keras.callbacks.Callback):
    """Write weights, moments and the state of the training, every so many steps and after each epoch.

    Args:
        checkpoints: Where and how often.
        prints: Fingerprint of the training.
        judge: Has to come before this callback.
        writes: Whether this worker writes; the others only help to read.
        position: Where the training begins.
    """

    def __init__(
        self, checkpoints: Checkpoints, prints: Fingerprint, judge: Judge, *, writes: bool, position: Position
    ) -> None:
        super().__init__()
        self._settings = checkpoints
        self._prints = prints
        self._judge = judge
        self._writes = writes
        self._epoch = position.epoch
        self._since = 0
        self._seen = position.step

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Count from here; the first epoch may begin in its middle."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Write where enough steps have passed; `batch` jumps where several steps run in one call."""
        self._since += batch + 1 - self._seen
        self._seen = batch + 1
        if self._settings.every != "epoch" and self._since >= self._settings.every and self._seen < self._num_batches:
            self._write(Position(self._epoch, self._seen))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write what validation has said, too."""
        self._seen = 0
        self._write(Position(epoch + 1, 0))

    @property
    def _num_batches(self) -> int:
        return int(self.params["steps"])

    def _write(self, position: Position) -> None:
        self._since = 0
        variables = state_variables(self.model)
        metrics = [float(weight.numpy()) for metric in self.model.metrics for weight in metric.weights]
        if not self._writes:
            files.read_averaged(variables)
            return
        judged = self._judge.state()
        state = {
            "epoch": position.epoch,
            "step": position.step,
            "best_epoch": judged["best"],
            "judge": judged,
            "metrics": metrics if position.step else [],
            "fingerprint": self._prints,
        }
        step = int(self.model.optimizer.iterations.numpy())
        files.write_folder(files.step_folder(self._settings.place, step), variables, state)
        files.tidy(self._settings.place)


def state_variables(model: Any) -> list[Any]:
    """Weights, then the optimizer's step and moments."""
    model.optimizer.build(model.trainable_variables)
    return [*model.weights, *model.optimizer.variables]


def prepare_folder(checkpoints: Checkpoints) -> None:
    """Make the folder, without what a kill left half-written; the chief's work."""
    checkpoints.place.mkdir(parents=True, exist_ok=True)
    if checkpoints.resume:
        files.clear_unfinished(checkpoints.place)
    else:
        files.clear(checkpoints.place)


def restore(checkpoints: Checkpoints, prints: Fingerprint, model: Any, judge: Judge) -> Position:
    """Bring model, optimizer and judge to the last checkpoint; the beginning, where there is none.

    Raises:
        PlanError: For a checkpoint of another training.
        DataError: For a damaged one.
    """
    folders = files.step_folders(checkpoints.place)
    if not folders or not checkpoints.resume:
        return Position()
    state = files.read_state(folders[-1])
    _require_same_training(folders[-1], state["fingerprint"], prints)
    files.read_variables(folders[-1], state_variables(model))
    judge.restore(state["judge"])
    position = Position(state["epoch"], state["step"], tuple(state["metrics"]))
    if not judge.done:
        say(f"going on from {folders[-1]}: {position.epoch} epochs and {position.step} steps are done")
    return position


class Beginning(keras.callbacks.Callback):
    """Let an epoch begin in its middle, with the running mean of its loss.

    Args:
        position: Where the training begins.
    """

    def __init__(self, position: Position) -> None:
        super().__init__()
        self._position = position
        self._pending = position.step > 0

    @contextmanager
    def of(self, model: Any) -> Iterator[None]:
        """Let the next `fit` of a model begin here, and those after it at the beginning."""
        model._training_state = self
        try:
            yield
        finally:
            model._training_state = None

    def maybe_load_initial_counters_from_ckpt(self, steps: Any, initial_epoch: Any, mode: Any) -> tuple[int, int]:
        """Epoch and step; the name is Keras's, which asks the model's training state and nothing else."""
        return self._position.epoch, self._position.step

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Give metrics their values back: Keras has just set them to zero."""
        if not self._pending:
            return
        self._pending = False
        self.model.compiled_loss.build(self.model.output)  # its metrics are not there before the first step
        weights = [weight for metric in self.model.metrics for weight in metric.weights]
        for weight, value in zip(weights, self._position.metrics, strict=True):
            weight.assign(value)


def _require_same_training(folder: Path, found: Fingerprint, expected: Fingerprint) -> None:
    other = [name for name, digest in expected.items() if found.get(name) != digest]
    if other:
        raise PlanError(
            f"checkpoint {folder} belongs to another training: {', '.join(other)} differ. Expected the same network, "
            "schema, rows and settings as now. Fix: another checkpoint_dir, or resume=False to begin anew."
        )
