"""A click log without holes, small enough for a network a style, in which every id occurs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from tfshop._keras import keras
from tfshop.data import IdFeature, NumericFeature, RandomSplit, Schema, Splits, prepare
from tfshop.evaluation.measured import Measured
from tfshop.measuring import measure_baseline
from tfshop.training import train

from .keras3 import saved_by_keras_3
from .styles import NUMERIC, STYLES

IDS = 30


def click_table(num_rows: int = 3000, seed: int = 0) -> pd.DataFrame:
    """Three id columns and a price, each with an effect."""
    generator = np.random.default_rng(seed)
    ids = {f"id_{number}": generator.integers(0, IDS, num_rows) for number in range(3)}
    price = generator.lognormal(1, 0.5, num_rows)
    effects = np.random.default_rng(1).normal(size=(3, IDS)) * 1.5
    logit = sum(effect[values] for effect, values in zip(effects, ids.values(), strict=True)) - 0.5 * np.log(price)
    clicked = (generator.random(num_rows) < 1 / (1 + np.exp(-logit))).astype(int)
    text = {name: [f"x{value}" for value in values] for name, values in ids.items()}
    return pd.DataFrame({**text, NUMERIC: price, "clicked": clicked})


def click_schema() -> Schema:
    return Schema([*(IdFeature(f"id_{number}") for number in range(3)), NumericFeature(NUMERIC)], target="clicked")


@pytest.fixture(scope="session")
def log() -> Splits:
    return prepare(click_table(), click_schema(), split=RandomSplit(seed=0), batch_size=128)


class Keras3(NamedTuple):
    """What Keras 3 left: files with rows and their scores, and how tfshop refused its model."""

    folder: Path
    refusal: str


@pytest.fixture(scope="session")
def keras_3(tmp_path_factory: pytest.TempPathFactory) -> Keras3:
    """Of one process, which imports Keras 3 after tfshop."""
    pytest.importorskip("keras", minversion="3")
    folder = tmp_path_factory.mktemp("keras3")
    return Keras3(folder, saved_by_keras_3(folder))


@pytest.fixture(scope="session")
def network(log: Splits) -> Callable[[str], Any]:
    """A network by style, trained for two short epochs; tests leave it as it is."""

    @cache
    def once(style: str) -> Any:
        keras.utils.set_random_seed(0)
        model = STYLES[style](log.schema)
        train(model, log, epochs=2, learning_rate=1e-2)
        return model

    return once


@pytest.fixture(scope="session")
def baseline(log: Splits, network: Callable[[str], Any]) -> Callable[[str], Measured]:
    """The float32 file of a style's network."""
    return cache(lambda style: measure_baseline(network(style), log))
