"""Thresholds cut where people say they do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfshop.compression.thresholds import Threshold
from tfshop.errors import PlanError

SCORES = np.array([0.0, 1.0, 2.0, 3.0, 4.0])


@pytest.mark.parametrize(("kind", "value", "limit"), [("quantile", 0.25, 1.0), ("max", 0.6, 2.4), ("mean", 1.5, 3.0)])
def test_limits_are_those_of_the_textbook(kind: str, value: float, limit: float) -> None:
    assert Threshold(kind, value).limit(SCORES) == pytest.approx(limit)


def test_plain_data_is_as_good_as_the_thing_itself() -> None:
    assert Threshold.of({"kind": "mean", "value": 2}) == Threshold("mean", 2)
    assert Threshold.of(None) is None


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("median", 0.5, "threshold is 'median'. Expected quantile, max, mean"),
        ("quantile", 1.0, "a number between 0 and 1"),
        ("max", 0.0, "a number between 0 and 1"),
        ("mean", 0.0, "a number above 0"),
        ("mean", True, "a number above 0"),
    ],
)
def test_limits_that_cut_nothing_or_everything_are_refused(kind: str, value: Any, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Threshold(kind, value)


def test_other_data_is_refused() -> None:
    with pytest.raises(PlanError, match=r"threshold is 0.5. Expected a Threshold.*Fix:"):
        Threshold.of(0.5)
