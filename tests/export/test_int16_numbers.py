"""What an int16x8 file cannot hold is refused before training, and only that."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from helpers import keras_scores

from tfshop._keras import keras
from tfshop.data import IdFeature, NumericFeature, RandomSplit, Schema, Splits, prepare, read_table
from tfshop.errors import PlanError
from tfshop.export import Export
from tfshop.layers import MaskedMean
from tfshop.models import build_model
from tfshop.models.blocks import numeric_columns
from tfshop.runtime import Scorer

ROWS = 3000
RANDOM = np.random.default_rng(0)
UNIFORM = RANDOM.random(ROWS)
WIDE = RANDOM.lognormal(3, 2, ROWS)


def numbers(columns: dict[str, Any], transform: str) -> Splits:
    """Rows of numbers and one id."""
    labels = RANDOM.integers(0, 2, ROWS)
    given = {name: pa.array(values, from_pandas=True) for name, values in columns.items()}
    table = pa.table({**given, "item": RANDOM.integers(0, 9, ROWS), "clicked": labels})
    features = [IdFeature("item"), *(NumericFeature(name, transform=transform) for name in columns)]
    return prepare(read_table(table), Schema(features, target="clicked"), split=RandomSplit(), batch_size=256)


def judge(data: Splits) -> Any:
    """A network that gives the sigmoid of the sum of the transformed numbers."""
    inputs = {"numeric": keras.Input((len(data.schema.numeric_features),), name="numeric")}
    head = keras.layers.Dense(1, activation="sigmoid", kernel_initializer="ones", name="probability")
    return keras.Model(inputs, head(numeric_columns(data.schema, inputs)), name="judge")


def with_holes(values: np.ndarray) -> np.ndarray:
    """Every tenth number missing."""
    return np.where(np.arange(ROWS) % 10 == 0, np.nan, values)


REFUSED = {
    "logarithms over orders of magnitude": ({"x": WIDE}, "log1p"),
    "small beside another column": ({"x": UNIFORM * 1e-3, "y": RANDOM.normal(size=ROWS) * 100}, "standard"),
    "small beside its own mean": ({"x": 2000 + UNIFORM}, "standard"),
    "small beside its own mean, with holes": ({"x": with_holes(1000 + UNIFORM)}, "standard"),
}
TAKEN = {
    "logarithms of one order": ({"x": UNIFORM * 4000}, "log1p"),
    "missing logarithms": ({"x": with_holes(UNIFORM * 200)}, "log1p"),
    "missing numbers": ({"x": with_holes(10 + UNIFORM)}, "standard"),
    "wide numbers": ({"x": WIDE}, "standard"),
    "a constant column": ({"x": UNIFORM, "y": np.full(ROWS, 100.0)}, "standard"),
}


def gap(data: Splits) -> float:
    """How far the file is from the network on average."""
    rows = {"numeric": data.validation.inputs["numeric"]}
    model = judge(data)
    return float(np.abs(Scorer(Export("int16x8").to_bytes(model, data))(rows) - keras_scores(model, rows)).mean())


@pytest.mark.parametrize("case", REFUSED)
def test_numbers_that_int16_would_lose_are_refused(case: str) -> None:
    data = numbers(*REFUSED[case])
    for model in (judge(data), build_model("mlp", data.schema, dimension=2, hidden=(4,))):
        with pytest.raises(PlanError, match=r"Export\('int16x8'\) cannot take 'x': it would .*Fix: Export\('int8'\)"):
            Export("int16x8").check(model, data.schema)
        Export("int8").check(model, data.schema)


@pytest.mark.parametrize("case", TAKEN)
def test_numbers_that_int16_holds_are_taken(case: str) -> None:
    data = numbers(*TAKEN[case])
    assert Export("int16x8").check(judge(data), data.schema) is None


@pytest.mark.parametrize(
    ("case", "is_lost"),
    [
        ("logarithms over orders of magnitude", True),
        ("small beside its own mean, with holes", True),
        ("missing logarithms", False),
    ],
)
def test_the_files_say_the_same(case: str, is_lost: bool) -> None:
    assert (gap(numbers(*{**REFUSED, **TAKEN}[case])) > 0.01) == is_lost


def test_an_input_a_feature_has_a_range_of_its_own() -> None:
    data = numbers(*REFUSED["small beside another column"])
    x, y = (keras.Input((1,), name=name) for name in "xy")
    scaled = keras.layers.Concatenate()([keras.layers.BatchNormalization()(value) for value in (x, y)])
    model = keras.Model([x, y], keras.layers.Dense(1, activation="sigmoid")(scaled))
    Export("int16x8").check(model, data.schema)
    far = numbers(*REFUSED["small beside its own mean"])
    with pytest.raises(PlanError, match="levels within its standard deviation"):
        Export("int16x8").check(keras.Model(x, keras.layers.Dense(1, activation="sigmoid")(x)), far.schema)


def test_the_mean_of_a_history_is_refused_because_it_would_be_none(clicks: Splits, trained_mlp: Any) -> None:
    """The control is the file itself, which is right where there is one id to add."""
    with pytest.raises(PlanError, match=r"cannot take .*MaskedMean.*sum counts every history as one.*Export\('int8'\)"):
        Export("int16x8").check(trained_mlp, clicks.schema)
    history = keras.Input((5,), dtype="int32", name="hist_id_0")
    rows = keras.layers.Embedding(200, 4, embeddings_initializer=keras.initializers.RandomUniform(0.1, 0.3, seed=1))
    head = keras.layers.Dense(1, activation="sigmoid", kernel_initializer="ones", name="probability")
    model = keras.Model(history, head(keras.layers.Flatten()(MaskedMean()([rows(history), history]))))
    batch = {"hist_id_0": clicks.validation.inputs["hist_id_0"]}
    gaps = np.abs(Scorer(Export("int16x8").to_bytes(model, clicks))(batch) - keras_scores(model, batch))
    lengths = (batch["hist_id_0"] > 0).sum(axis=1)
    assert gaps[lengths <= 1].max() < 1e-3 and gaps[lengths > 1].mean() > 0.02


def test_a_sum_over_a_history_is_taken() -> None:
    history = keras.Input((5,), dtype="int32", name="hist_id_0")
    pooled = keras.layers.Flatten()(MaskedMean("sum")([keras.layers.Embedding(9, 4)(history), history]))
    model = keras.Model(history, keras.layers.Dense(1, activation="sigmoid")(pooled))
    assert Export("int16x8").check(model, numbers(*TAKEN["missing numbers"]).schema) is None
