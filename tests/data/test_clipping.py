"""Outliers: quantiles of the training rows, fitted with the schema and applied in the network."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers import keras_scores

from tfshop.data import NumericFeature, Schema, TimeSplit, prepare
from tfshop.errors import SchemaError
from tfshop.export import Export
from tfshop.models import build_model
from tfshop.runtime import Scorer

SPLIT = TimeSplit("day", validation=2, test=3)


@pytest.fixture(scope="module")
def data():
    """1,000 training prices 1 … 1,000, one of them a million by mistake; later days are wilder."""
    prices = [*range(1, 1000), 10**6, *[10**9, np.nan] * 10, *[-(10**9), 5] * 10]
    frame = pd.DataFrame({"price": prices, "day": [1] * 1000 + [2] * 20 + [3] * 20, "y": [0, 1] * 520})
    feature = NumericFeature("price", transform="standard", clip=(0.01, 0.99))
    return prepare(frame, Schema([feature], target="y"), split=SPLIT, batch_size=64)


def test_the_limits_are_quantiles_of_the_training_rows_alone(data):
    found = data.schema.statistics["price"]
    assert (found.low, found.high) == (10.0, 990.0)
    assert found.maximum == 990.0 and found.minimum == 10.0
    assert found.mean == pytest.approx(np.clip([*range(1, 1000), 10**6], 10, 990).mean())
    assert "clipped to the quantiles 0.01 to 0.99: 10 to 990" in data.schema.describe()


def test_the_network_gives_outliers_the_score_of_the_limit(data):
    model = build_model("mlp", data.schema, hidden=(8,))
    rows = {"numeric": np.array([[990.0], [1e9], [10.0], [-1e9], [500.0], [np.nan]], np.float32)}
    scores = keras_scores(model, rows)
    assert scores[0] == scores[1] and scores[2] == scores[3] and len({*scores[[0, 2, 4]].tolist()}) == 3
    np.testing.assert_allclose(Scorer(Export("float32").to_bytes(model, data))(rows), scores, atol=1e-5)


def test_encoded_rows_stay_raw(data):
    """The phone feeds what it measured: the limits are in the file."""
    assert np.nanmax(data.validation.inputs["numeric"]) == 1e9


def test_a_clipped_schema_comes_back_from_json(data):
    assert Schema.from_json(data.schema.to_json()) == data.schema


@pytest.mark.parametrize("clip", [(0.5, 0.5), (0.9, 0.1), (-0.1, 1), (0, 1.5), (0.1,), 0.1, ("a", "b"), (True, False)])
def test_quantiles_out_of_order_are_refused(clip):
    with pytest.raises(SchemaError, match=r"clip=.*Fix: clip=\(0.001, 0.999\)"):
        NumericFeature("price", clip=clip)
