"""How sure a difference of two shares (accuracy, recall) counted on the same rows is."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from tfshop.evaluation.checks import Bools


def share_difference(hits: Bools, baseline_hits: Bools, level: float = 0.95) -> tuple[float, float]:
    """Share of hits minus the baseline's, and half the width of its confidence interval.

    Rows on which both agree add nothing, so the interval is far narrower than that of either share alone.

    Args:
        hits: Whether each row was right, shape (n,).
        baseline_hits: The same of the baseline on the same rows, shape (n,).
        level: Of the interval, inside (0, 1).

    Example:
        >>> share_difference(np.array([True, True]), np.array([True, True]))
        (0.0, 0.0)
    """
    paired = hits.astype(np.float64) - baseline_hits
    half = NormalDist().inv_cdf((1 + level) / 2) * float(paired.std()) / math.sqrt(len(paired))
    return float(paired.mean()), half
