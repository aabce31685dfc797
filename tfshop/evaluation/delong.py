"""Whether two files order the same rows equally well, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from numpy.typing import ArrayLike
from scipy.stats import rankdata

from tfshop.errors import DataError, TfshopError
from tfshop.evaluation.checks import Bools, Floats, checked_labels, checked_scores

FEWEST_OF_A_CLASS = 2  # a variance needs two
LOST_NOTHING = 0.0005  # of AUC: a file whose interval stays above minus this lost nothing that matters


@dataclass(frozen=True)
class AucDifference:
    """AUC of a file minus AUC of its baseline on the same rows, with its confidence interval.

    Args:
        difference: Negative where the file is worse.
        low: Lower end of the interval.
        high: Upper end of the interval.
        standard_error: Of the difference.
        p_value: Two-sided, of no difference at all.
        level: Share of such intervals that hold the true difference.

    Raises:
        TfshopError: Where the interval does not hold the difference, or the level is not inside (0, 1).
    """

    difference: float
    low: float
    high: float
    standard_error: float
    p_value: float
    level: float = 0.95

    def __post_init__(self) -> None:
        """Refuse what no measurement can give."""
        _check_level(self.level)
        if not self.low <= self.difference <= self.high:
            raise TfshopError(
                f"AUC difference {self.difference}, with interval [{self.low}, {self.high}]. "
                "Expected the difference inside its interval. Fix: take the values from auc_difference()."
            )


def auc_difference(
    labels: ArrayLike, scores: ArrayLike, baseline_scores: ArrayLike, level: float = 0.95
) -> AucDifference:
    """Paired DeLong interval of AUC(scores) - AUC(baseline_scores), in O(n log n); ties count one half.

    The AUC is a mean over positives of the share of negatives each one beats, and likewise over negatives. The
    variance of the difference is that of the paired per-row differences of these shares, one term a class:
    `var(d_positive) / m + var(d_negative) / n`. Rows are taken as independent.

    Args:
        labels: 0 or 1, shape (n,), at least two of each.
        scores: Of the file, shape (n,), probabilities or logits.
        baseline_scores: Of its baseline on the same rows, shape (n,).
        level: Of the interval, inside (0, 1).

    Raises:
        DataError: For labels not 0/1 or with fewer than two of a class, and for lengths that differ.
        ScoringError: For NaN or infinite scores.

    Example:
        >>> auc_difference([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], [0.1, 0.3, 0.2, 0.4]).difference
        0.25

    References:
        DeLong, DeLong & Clarke-Pearson, Comparing the areas under two or more correlated ROC curves, 1988.
        Sun & Xu, Fast implementation of DeLong's algorithm, 2014.
    """
    _check_level(level)
    truth = checked_labels(labels)
    _check_class_sizes(truth)
    of_positives, of_negatives = _shares_won(truth, checked_scores("scores", scores, truth.size))
    base_positives, base_negatives = _shares_won(truth, checked_scores("baseline_scores", baseline_scores, truth.size))
    # Subtracting before taking the variance keeps a tiny difference exact, and that of equal scores exactly zero.
    paired_positives, paired_negatives = of_positives - base_positives, of_negatives - base_negatives
    difference = float(paired_positives.mean())
    variance = paired_positives.var(ddof=1) / len(paired_positives) + paired_negatives.var(ddof=1) / len(
        paired_negatives
    )
    return _interval(difference, math.sqrt(float(variance)), level)


def _shares_won(truth: Bools, scores: Floats) -> tuple[Floats, Floats]:
    """Of each positive the share of negatives below it, of each negative the share of positives above it."""
    ranks = rankdata(scores)
    positives, negatives = scores[truth], scores[~truth]
    below = (ranks[truth] - rankdata(positives)) / len(negatives)
    above = 1 - (ranks[~truth] - rankdata(negatives)) / len(positives)
    return below, above


def _interval(difference: float, standard_error: float, level: float) -> AucDifference:
    half = NormalDist().inv_cdf((1 + level) / 2) * standard_error
    if standard_error > 0:
        p_value = math.erfc(abs(difference) / standard_error / math.sqrt(2))
    else:
        p_value = 1.0 if difference == 0 else 0.0
    return AucDifference(difference, difference - half, difference + half, standard_error, p_value, level)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise TfshopError(f"level of an interval, {level}. Expected a share inside (0, 1). Fix: level=0.95.")


def _check_class_sizes(truth: Bools) -> None:
    positives = int(truth.sum())
    if min(positives, truth.size - positives) < FEWEST_OF_A_CLASS:
        raise DataError(
            f"labels, {positives} positives and {truth.size - positives} negatives. "
            f"Expected at least {FEWEST_OF_A_CLASS} of each for an interval. Fix: measure on more rows."
        )
