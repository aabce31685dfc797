"""What every measurement asks of labels and scores before it counts anything."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tfshop.errors import DataError, ScoringError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def checked_labels(labels: ArrayLike) -> Bools:
    """Labels as booleans (n,); both classes must be there.

    Raises:
        DataError: For labels that are not one-dimensional, not 0 or 1, or all of one class.
    """
    values = one_dimension("labels", np.asarray(labels))
    strange = np.flatnonzero((values != 0) & (values != 1))
    if strange.size:
        first = int(strange[0])
        raise DataError(
            f"labels, {strange.size:,} of {values.size:,} are neither 0 nor 1 (first: row {first}, {values[first]}). "
            "Expected 0 or 1. Fix: map the target to 0 and 1, or drop these rows."
        )
    positives = int(np.count_nonzero(values))
    if positives in (0, values.size):
        raise DataError(
            f"labels, {positives:,} positives of {values.size:,} rows. Expected both classes. "
            "Fix: measure on more rows, or split the table so that each split holds both classes."
        )
    return values.astype(bool)


def checked_scores(name: str, scores: ArrayLike, num_rows: int) -> Floats:
    """Scores as float64 (n,), finite, one a label.

    Raises:
        DataError: Where the length is not that of the labels.
        ScoringError: For NaN or infinite scores.
    """
    values = one_dimension(name, np.asarray(scores, dtype=np.float64))
    same_length(name, values, num_rows)
    broken = np.flatnonzero(~np.isfinite(values))
    if broken.size:
        first = int(broken[0])
        raise ScoringError(
            f"{name}, {broken.size:,} of {values.size:,} are not finite (first: row {first}, {values[first]}). "
            "Expected finite numbers. Fix: look for NaN or infinity in that row's inputs, and score the file again."
        )
    return values


def checked_probabilities(name: str, scores: ArrayLike, num_rows: int) -> Floats:
    """Scores as float64 (n,), each in [0, 1].

    Raises:
        DataError: Where the length is not that of the labels.
        ScoringError: For scores that are not probabilities.
    """
    values = checked_scores(name, scores, num_rows)
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise ScoringError(
            f"{name}, from {low:.6g} to {high:.6g}. Expected probabilities in [0, 1]. "
            "Fix: give the output called 'probability', not the logit."
        )
    return values


def same_length(name: str, values: NDArray[Any], num_rows: int) -> None:
    """Refuse an array that does not have one entry a label.

    Raises:
        DataError: Where it does not.
    """
    if len(values) != num_rows:
        raise DataError(
            f"{name}, {len(values):,} rows beside {num_rows:,} labels. Expected one a label, in the same order. "
            "Fix: score and label the same split."
        )


def one_dimension(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """Refuse anything but a plain vector with at least one entry.

    Raises:
        DataError: For another shape.
    """
    if values.ndim != 1 or values.size == 0:
        raise DataError(
            f"{name}, an array of shape {values.shape}. Expected shape (rows,) with at least one row. "
            f"Fix: give {name}.reshape(-1) of a split that is not empty."
        )
    return values
