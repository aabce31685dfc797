"""The paired interval of a share against a bootstrap."""

from __future__ import annotations

import numpy as np
import pytest

from tfshop.evaluation.paired import share_difference


def test_interval_agrees_with_a_bootstrap():
    rng = np.random.default_rng(0)
    baseline = rng.random(3_000) < 0.8
    hits = np.where(rng.random(3_000) < 0.05, ~baseline, baseline)
    difference, half = share_difference(hits, baseline)
    draws = rng.integers(0, 3_000, (800, 3_000))
    means = np.array([hits[rows].mean() - baseline[rows].mean() for rows in draws])
    assert difference == pytest.approx(hits.mean() - baseline.mean())
    assert half == pytest.approx(1.96 * means.std(), rel=0.1)
