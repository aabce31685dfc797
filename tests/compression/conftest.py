"""A short data set, on which a pass takes a few steps, and candidates that passes have been applied to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from networks import needs, spread

from tfshop._keras import keras
from tfshop.compression import QAT, Candidate, Prune
from tfshop.compression.teacher_scores import soft_targets
from tfshop.data import Splits
from tfshop.models import build_model
from tfshop.training import train

ASKED = 0.8


@pytest.fixture
def fresh(brief: Splits) -> Splits:
    """The same rows in a split that nobody has scored."""
    return replace(brief, train=replace(brief.train))


@pytest.fixture(scope="session")
def ids_alone(dense_clicks: Splits) -> Splits:
    """Three id columns and four steps an epoch."""
    return replace(dense_clicks, train=dense_clicks.train.take(1024))


@pytest.fixture(scope="session")
def plain(dense_clicks: Splits) -> Candidate:
    """A perceptron of ids alone, trained; it is trained further in less time than one of all features."""
    model = build_model("mlp", dense_clicks.schema, dimension=8, hidden=(64, 32))
    train(model, dense_clicks, epochs=2, learning_rate=5e-3)
    return Candidate(model, dense_clicks.schema)


@pytest.fixture(scope="session")
def crosses(dense_clicks: Splits) -> Candidate:
    """Two crosses of ids alone beside a tower, trained."""
    model = build_model("dcn", dense_clicks.schema, dimension=8, hidden=(64,), num_crosses=2)
    train(model, dense_clicks, epochs=2, learning_rate=5e-3)
    return Candidate(model, dense_clicks.schema)


@pytest.fixture(scope="session")
def richest(kinds: dict[str, Splits]) -> Callable[[str], tuple[Any, Splits]]:
    """A network of `MODELS` with all features it reads and weights that do something; tests leave it as it is."""

    @cache
    def once(name: str) -> tuple[Any, Splits]:
        data = kinds[needs(name).kinds[-1]]
        model = build_model(name, data.schema, **needs(name).settings)
        spread(model)
        return model, data

    return once


@pytest.fixture(scope="session")
def candidate(trained: Callable[[str], Any], clicks: Splits) -> Callable[[str], Candidate]:
    """A trained network by name, nothing done to it yet."""
    return cache(lambda name: Candidate(trained(name), clicks.schema))


@pytest.fixture(scope="session")
def pruned(candidate: Callable[[str], Candidate], clicks: Splits) -> Candidate:
    """The perceptron with 80% zeros."""
    return Prune(ASKED).apply(candidate("mlp"), clicks, seed=0)


@pytest.fixture(scope="session")
def pruned_and_quantized(pruned: Candidate, clicks: Splits) -> Candidate:
    """The pruned perceptron after training with rounding."""
    return QAT().apply(pruned, clicks, seed=0)


@pytest.fixture(scope="session")
def linear(clicks: Splits) -> Any:
    """A network without a Dense layer, of no known family."""
    ids = keras.Input((3,), dtype="int32", name="ids")
    weights = keras.layers.Embedding(max(clicks.schema.tables.values()), 1, name="weights")(ids)
    pooled = keras.layers.GlobalAveragePooling1D()(weights)
    return keras.Model(ids, keras.layers.Activation("sigmoid", name="probability")(pooled), name="linear")


@pytest.fixture
def teachers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The networks that a tuning of tables learns from, once it has run."""
    found: list[Any] = []

    def watched(models: Any, split: Any) -> Any:
        found.extend(models)
        return soft_targets(models, split)

    monkeypatch.setattr("tfshop.compression.tune_tables.soft_targets", watched)
    return found
