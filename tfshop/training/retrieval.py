"""Training of two towers on what was chosen: the other items of a batch are the ones that were not."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from tfshop._keras import keras, tf
from tfshop.data.split import Split, Splits
from tfshop.errors import DataError, PlanError
from tfshop.models.two_tower import SCORE
from tfshop.training.catalogue import Catalogue, item_column
from tfshop.training.checks import require_functional, require_trainable
from tfshop.training.freed_memory import FreedMemoryKeeper
from tfshop.training.inputs import model_specs
from tfshop.training.lazy_adam import LazyAdam
from tfshop.training.progress import ProgressLine
from tfshop.training.recall import ranks, recall_at
from tfshop.training.scoring import outputs_of
from tfshop.training.settings import FitSettings

WATCHED_K = 100
WATCHED_SHARE = 20  # of a small catalogue, the first twentieth: among the first 100 of 200 is no feat
WATCHED_QUERIES = 20_000
CALIBRATION_ROWS = 200_000
EXCLUDED = -1e9


@dataclass(frozen=True)
class InBatchSoftmax:
    r"""Softmax over the items of a batch, corrected for the popular ones being in more batches.

    .. math:: L = -\frac{1}{B} \sum_i \log \frac{e^{s_{ii}}}{\sum_j e^{s_{ij}}}, \qquad
        s_{ij} = u_i \cdot v_j / temperature - \log p_j

    with `p_j` the share of positive training rows that are of item j.

    Args:
        temperature: Above 0; small ones look at the hardest items.
        correction: Whether `log p_j` is subtracted. Without it an item is pushed down as often as it is popular.
        mask_duplicates: Whether another row's copy of the row's own item is left out of the sum.
        item: The id feature that says which item a row is about; None for the item tower's first one.

    Raises:
        PlanError: For a temperature that is not above 0.

    Example:
        >>> InBatchSoftmax(temperature=0.05)
        InBatchSoftmax(temperature=0.05, correction=True, mask_duplicates=True, item=None)

    References:
        Yi et al., Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations, RecSys 2019;
        Bengio & Senecal, Adaptive Importance Sampling …, 2008 (the correction).
    """

    temperature: float = 0.1
    correction: bool = True
    mask_duplicates: bool = True
    item: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.temperature, float | int) or not self.temperature > 0:
            raise PlanError(f"temperature is {self.temperature!r}. Expected a number above 0. Fix: temperature=0.1.")


@keras.utils.register_keras_serializable(package="tfshop")
class InBatchSoftmaxLoss(keras.losses.Loss):
    """`InBatchSoftmax` as a Keras loss.

    Args:
        temperature: Scores are divided by it.
        mask_duplicates: Whether copies of a row's own item are left out.
        **kwargs: As any Keras loss.

    Call:
        y_true: float32 (batch, 2): the item's number, what is subtracted from its scores (`log p` or 0).
        y_pred: float32 (batch, 2 width): the user's vector, the item's vector.
    """

    def __init__(self, temperature: float = 0.1, mask_duplicates: bool = True, **kwargs: Any) -> None:
        kwargs.setdefault("name", "in_batch_softmax")
        super().__init__(**kwargs)
        self.temperature = temperature
        self.mask_duplicates = mask_duplicates

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of each row, float32 (batch,)."""
        users, items = tf.split(y_pred, 2, axis=1)
        numbers, log_probability = y_true[:, 0], y_true[:, 1]
        scores = tf.matmul(users, items, transpose_b=True) / self.temperature - log_probability[tf.newaxis, :]
        own = tf.eye(tf.shape(scores)[0], dtype=scores.dtype)
        if self.mask_duplicates:
            same = tf.cast(tf.equal(numbers[:, tf.newaxis], numbers[tf.newaxis, :]), scores.dtype)
            scores = scores + (same - own) * EXCLUDED
        return tf.nn.softmax_cross_entropy_with_logits(labels=own, logits=scores)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        settings = {"temperature": self.temperature, "mask_duplicates": self.mask_duplicates}
        return {**super().get_config(), **settings}


@dataclass(frozen=True)
class RetrievalEpoch:
    """One epoch: `validation_recall` is that of the first `k` of all items, `seconds` wall time with validation."""

    epoch: int
    loss: float
    validation_recall: float
    seconds: float


@dataclass(frozen=True)
class RetrievalHistory:
    """Epochs in order, and which of them gave the weights that were kept.

    Attributes:
        epochs: One row an epoch.
        kept_epoch: Number of the epoch whose weights the model holds now, from 1.
        k: Of the recall: 100, fewer where there are fewer than 2,000 items.
    """

    epochs: tuple[RetrievalEpoch, ...]
    kept_epoch: int
    k: int

    @property
    def best(self) -> RetrievalEpoch:
        """The epoch whose weights were kept."""
        return self.epochs[self.kept_epoch - 1]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def train_two_tower(
    model: Any,
    data: Splits,
    *,
    loss: InBatchSoftmax | None = None,
    epochs: int = 5,
    learning_rate: float = 1e-3,
    patience: int = 1,
    seed: int = 0,
) -> RetrievalHistory:
    """Train a two-tower network in place on its positive rows; the weights of the best validation recall are kept.

    A batch is `data.batch_size` positives; larger ones have more to choose from. Afterwards `logit` is fitted to the
    labels of the training rows, so that `probability` means something too.

    Args:
        model: As `build_model("two_tower", …)` makes it.
        data: As `prepare` returns it; the test split is not read.
        loss: What is minimized; None for `InBatchSoftmax()`.
        epochs: Most passes over the positive training rows.
        learning_rate: Step size of `LazyAdam`.
        patience: Epochs without a better recall before training stops.
        seed: Seed of the order of rows.

    Returns:
        What happened, one row an epoch.

    Raises:
        ModelError: For a network without two towers, or whose towers are frozen, or no id feature for the item.
        DataError: Where no item is known, or training diverges.
        PlanError: For hyperparameters out of range.

    Example:
        >>> model = build_model("two_tower", data.schema, item=("item_id", "brand"))  # doctest: +SKIP
        >>> train_two_tower(model, data.with_batch_size(1024)).best.validation_recall  # doctest: +SKIP
    """
    require_functional(model)
    loss = loss or InBatchSoftmax()
    settings = FitSettings(epochs=epochs, learning_rate=learning_rate, patience=patience, seed=seed)
    catalogue = Catalogue.of(data.train, item_column(model, data.schema, loss.item))
    positives = catalogue.positives(data.train)
    log_probability = catalogue.log_probability(positives)
    targets = np.stack([catalogue.positions(positives), log_probability * loss.correction], axis=1).astype(np.float32)
    keras.utils.set_random_seed(seed)
    both = vector_model(model, joined=True)
    require_trainable(both)
    both.compile(LazyAdam(learning_rate), InBatchSoftmaxLoss(loss.temperature, loss.mask_duplicates))
    both.optimizer.build(both.trainable_variables)  # else Keras traces the step once to make them, and again
    watcher = _RecallWatcher(model, catalogue, data.validation, settings)
    batches = replace(positives, labels=targets).batches(shuffle=True, seed=seed, inputs=model_specs(model))
    bar = ProgressLine(f"training {model.name}", epochs * positives.num_batches)
    both.fit(batches, epochs=epochs, verbose=0, callbacks=[watcher, FreedMemoryKeeper(), bar])
    history = watcher.finish()
    calibrate(model, data.train, seed)
    return history


def vector_model(model: Any, *, joined: bool = False) -> Any:
    """The network up to its two vectors, both as they are or side by side."""
    vectors = [model.get_layer(f"{side}_vector").output for side in ("user", "item")]
    return keras.Model(
        model.inputs, keras.layers.Concatenate(name="vectors")(vectors) if joined else vectors, name=model.name
    )


def vectors_of(model: Any, split: Split, side: str) -> NDArray[np.float32]:
    """Vectors of one side for the rows of a split, float32 (rows, vector_width)."""
    return np.asarray(outputs_of(side_model(model, side), split), np.float32)


def side_model(model: Any, side: str) -> Any:
    """The network up to the vector of one side, with all of its inputs."""
    return keras.Model(model.inputs, model.get_layer(f"{side}_vector").output)


def calibrate(model: Any, train: Split, seed: int = 0) -> None:
    """Fit weight and bias of `logit` to the labels, by the scores of training rows: the towers stay as they are."""
    rows = train.take(min(CALIBRATION_ROWS, train.num_rows), seed=seed)
    scorer = keras.Model(model.inputs, model.get_layer(SCORE).output)
    scores = outputs_of(scorer, rows)
    labels = rows.labels.reshape(len(scores), -1)[:, 0] > 0
    if labels.all() or not labels.any():
        return
    fitted = LogisticRegression(C=1e6).fit(scores.astype(np.float64), labels)
    weights = [fitted.coef_.reshape(1, 1).astype(np.float32), fitted.intercept_.reshape(1).astype(np.float32)]
    model.get_layer("logit").set_weights(weights)


class _RecallWatcher(keras.callbacks.Callback):
    """Measure recall after each epoch, keep the best weights, stop when nothing is gained."""

    def __init__(self, towers: Any, catalogue: Catalogue, validation: Split, settings: FitSettings) -> None:
        super().__init__()
        self._towers = towers
        self._sides = {side: side_model(towers, side) for side in ("user", "item")}
        self._catalogue = catalogue
        queries = catalogue.positives(validation)
        self._queries = queries.take(min(WATCHED_QUERIES, queries.num_rows), seed=0)
        self._settings = settings
        self._k = min(WATCHED_K, max(1, len(catalogue.ids) // WATCHED_SHARE))
        self._rows: list[RetrievalEpoch] = []
        self._best_weights: list[np.ndarray] = []
        self._best = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        loss = float(logs["loss"])
        if not np.isfinite(loss):
            raise DataError(
                f"training of {self._towers.name!r} diverged: the loss of epoch {epoch + 1} is {loss}. Expected a "
                "number. Fix: a smaller learning_rate, or a higher temperature."
            )
        row = RetrievalEpoch(epoch + 1, loss, self._recall(), time.perf_counter() - self._start)
        logs["validation_recall"] = row.validation_recall
        self._rows.append(row)
        if not self._best or row.validation_recall > self._rows[self._best - 1].validation_recall:
            self._best, self._best_weights = row.epoch, self._towers.get_weights()
        elif self._settings.patience is not None and row.epoch - self._best >= self._settings.patience:
            self.model.stop_training = True

    def _recall(self) -> float:
        users, items = (
            np.asarray(outputs_of(self._sides[side], split), np.float32)
            for side, split in (("user", self._queries), ("item", self._catalogue.rows))
        )
        return recall_at(ranks(users, items, self._catalogue.positions(self._queries)), (self._k,))[self._k]

    def finish(self) -> RetrievalHistory:
        """Put the best weights back and tell what happened."""
        self._towers.set_weights(self._best_weights)
        return RetrievalHistory(tuple(self._rows), self._best, self._k)
