from __future__ import annotations

import numpy as np
import pytest

from tfshop.data import IdFeature, NumericFeature, NumericStatistics, Schema, fitting
from tfshop.data.fitting import Moments, fit_statistics
from tfshop.errors import DataError


@pytest.mark.parametrize("transform", ["none", "log1p", "standard"])
def test_statistics_of_pieces_are_those_of_the_whole(monkeypatch, transform):
    """Large values with a small spread, where sums of squares would lose everything; one piece without a value."""
    monkeypatch.setattr(fitting, "_ROWS_PER_PIECE", 100)
    draw = np.random.default_rng(0)
    raw = (1e6 + draw.normal(size=1050)).astype(np.float32)
    raw[draw.random(1050) < 0.2] = np.nan
    raw[200:300] = np.nan
    schema = Schema([IdFeature("a"), NumericFeature("x", transform=transform)], target="y")
    found = fit_statistics(schema, {"numeric": raw[:, None]})["x"]
    whole = NumericStatistics.measure(raw, transform)
    assert (found.count, found.missing, found.minimum, found.maximum) == (
        whole.count,
        whole.missing,
        whole.minimum,
        whole.maximum,
    )
    assert found.mean == pytest.approx(whole.mean, rel=1e-12)
    assert found.standard_deviation == pytest.approx(whole.standard_deviation, rel=1e-9)


def test_a_column_without_a_training_value_is_refused():
    schema = Schema([NumericFeature("x")], target="y")
    with pytest.raises(DataError, match="'x' is missing in all 10 training rows"):
        fit_statistics(schema, {"numeric": np.full((10, 1), np.nan, np.float32)})


def test_nothing_adds_nothing():
    one = Moments.of(np.float32([1, 3, np.nan]), "none")
    assert one + Moments() == Moments() + one == one
