"""How good scores are: one number a question, all on the same rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import (
    accuracy_score,
    log_loss,
    precision_recall_curve,
    precision_recall_fscore_support,
    roc_auc_score,
)

from tfshop.errors import TfshopError
from tfshop.evaluation.checks import Bools, Floats, checked_labels, checked_probabilities, one_dimension, same_length

# Files give float32 scores, so a score of exactly 0 or 1 means "closer than this", not "certain".
SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Metrics:
    """What was measured on one split of one file.

    Args:
        auc: Area under the ROC curve.
        log_loss: Mean negative log likelihood, in nats.
        accuracy: Share of rows on the right side of the threshold.
        precision: Share of positives among rows at or above the threshold; 0 where there are none.
        recall: Share of the positives at or above the threshold.
        f1: Harmonic mean of precision and recall.
        threshold: A score at or above it counts as positive.
        grouped_auc: AUC within each group, weighted by rows; None without groups that hold both classes.
        calibration: Sum predicted over sum observed; 1 is right, above 1 predicts too much.
        tie_rate: Share of (positive, negative) pairs with equal scores.
        num_rows: Rows measured.
        num_positives: Rows with label 1.

    Raises:
        TfshopError: For values that no measurement can give.
    """

    auc: float
    log_loss: float
    accuracy: float
    precision: float
    recall: float
    f1: float
    threshold: float
    grouped_auc: float | None
    calibration: float
    tie_rate: float
    num_rows: int
    num_positives: int

    def __post_init__(self) -> None:
        """Refuse what no measurement can give."""
        for name in ("auc", "accuracy", "precision", "recall", "f1", "grouped_auc", "tie_rate"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise TfshopError(f"metrics, {name} is {value}. Expected 0 to 1. Fix: take the values from measure().")
        if not 0 < self.num_positives < self.num_rows:
            raise TfshopError(
                f"metrics, {self.num_positives} positives of {self.num_rows} rows. Expected both classes. "
                "Fix: take the values from measure()."
            )


def measure(labels: ArrayLike, scores: ArrayLike, groups: ArrayLike | None = None, *, threshold: float) -> Metrics:
    """Measure scores against labels.

    Args:
        labels: 0 or 1, shape (n,).
        scores: Probabilities, shape (n,).
        groups: The group (user, household) of each row, shape (n,); for `grouped_auc`.
        threshold: Score from which a row counts as positive; choose it on validation with `best_threshold`.

    Raises:
        DataError: For labels of one class or not 0/1, and for lengths that differ.
        ScoringError: For scores that are not probabilities.

    Example:
        >>> metrics = measure([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9], threshold=0.5)
        >>> metrics.auc, metrics.accuracy, metrics.recall
        (0.75, 0.5, 0.5)
    """
    truth = checked_labels(labels)
    values = checked_probabilities("scores", scores, truth.size)
    predicted = values >= threshold
    precision, recall, f1, _ = precision_recall_fscore_support(truth, predicted, average="binary", zero_division=0)
    clipped = np.clip(values, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    positives = int(truth.sum())
    return Metrics(
        auc=float(roc_auc_score(truth, values)),
        log_loss=float(log_loss(truth, clipped)),
        accuracy=float(accuracy_score(truth, predicted)),
        precision=float(precision),
        recall=float(recall),
        f1=float(f1),
        threshold=float(threshold),
        grouped_auc=None if groups is None else grouped_auc(truth, values, groups),
        calibration=float(values.sum() / positives),
        tie_rate=tie_rate(truth, values),
        num_rows=truth.size,
        num_positives=positives,
    )


def best_threshold(labels: ArrayLike, scores: ArrayLike) -> float:
    """The score from which calling a row positive gives the highest F1; of several, the lowest.

    Choose it on validation, never on the split that is reported.

    Raises:
        DataError: For labels of one class or not 0/1, and for lengths that differ.
        ScoringError: For scores that are not probabilities.

    Example:
        >>> best_threshold([0, 0, 1, 1], [0.1, 0.3, 0.4, 0.9])
        0.4
    """
    truth = checked_labels(labels)
    values = checked_probabilities("scores", scores, truth.size)
    precision, recall, thresholds = precision_recall_curve(truth, values)
    # The curve's last point is the empty prediction and has no threshold.
    precision, recall = precision[:-1], recall[:-1]
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    return float(thresholds[np.argmax(f1)])


def tie_rate(labels: ArrayLike, scores: ArrayLike) -> float:
    """Share of (positive, negative) pairs whose scores are equal, by one sort.

    Raises:
        DataError: For labels of one class or not 0/1, and for lengths that differ.
        ScoringError: For scores that are not probabilities.

    Example:
        >>> tie_rate([0, 1, 0, 1], [0.5, 0.5, 0.2, 0.7])
        0.25
    """
    truth = checked_labels(labels)
    values = checked_probabilities("scores", scores, truth.size)
    order = np.argsort(values)
    runs = _starts(values[order])
    positives = np.add.reduceat(truth[order].astype(np.int64), runs)
    rows = np.diff(np.append(runs, truth.size))
    all_positives = int(truth.sum())
    return float((positives * (rows - positives)).sum() / (all_positives * (truth.size - all_positives)))


def grouped_auc(labels: ArrayLike, scores: ArrayLike, groups: ArrayLike) -> float | None:
    """AUC inside each group that holds both classes, averaged with the group's rows as weight.

    It asks whether each user's own candidates are in the right order, which the AUC over all rows,
    won in part by telling heavy buyers from light ones, does not.

    Returns:
        The average, or None where no group holds both classes.

    Raises:
        DataError: For labels of one class or not 0/1, and for lengths that differ.
        ScoringError: For scores that are not probabilities.

    Example:
        >>> grouped_auc([0, 1, 0, 1], [0.1, 0.2, 0.9, 0.8], ["a", "a", "b", "b"])
        0.5
    """
    truth = checked_labels(labels)
    values = checked_probabilities("scores", scores, truth.size)
    keys = one_dimension("groups", np.asarray(groups))
    same_length("groups", keys, truth.size)
    numbers = np.unique(keys, return_inverse=True)[1]
    order = np.lexsort((values, numbers))
    return _mean_auc_of_sorted(truth[order], values[order], numbers[order])


def _mean_auc_of_sorted(truth: Bools, values: Floats, groups: NDArray[np.int64]) -> float | None:
    """The average, of rows sorted by group and then score: each AUC from the sum of its positives' midranks."""
    starts = _starts(groups)
    sizes = np.diff(np.append(starts, truth.size))
    runs = _starts(groups, values)
    lengths = np.diff(np.append(runs, truth.size))
    ranks = np.repeat(runs + (lengths + 1) / 2, lengths) - np.repeat(starts, sizes)
    positives = np.add.reduceat(truth.astype(np.float64), starts)
    pairs = positives * (sizes - positives)
    mixed = pairs > 0
    if not mixed.any():
        return None
    won = np.add.reduceat(np.where(truth, ranks, 0.0), starts) - positives * (positives + 1) / 2
    return float(np.average(won[mixed] / pairs[mixed], weights=sizes[mixed]))


def _starts(*keys: NDArray[np.generic]) -> NDArray[np.int64]:
    """Where a new run of equal keys begins, in sorted rows."""
    changed = np.logical_or.reduce([key[1:] != key[:-1] for key in keys])
    return np.flatnonzero(np.append(True, changed))
