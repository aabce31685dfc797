"""Networks to try techniques on, and how a change is tried the long way round."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from foreign.conftest import click_schema, click_table
from sklearn.metrics import roc_auc_score

from tfshop.data import RandomSplit, Split, Splits, prepare
from tfshop.data.binding import bind
from tfshop.training.inputs import model_specs


@pytest.fixture(scope="session")
def foreign_log() -> Splits:
    """Three id columns and a price, without holes."""
    return prepare(click_table(1500), click_schema(), split=RandomSplit(seed=0), batch_size=128)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How many trials the bar expects, then each of its steps."""
    steps: list[float] = []

    @contextmanager
    def progress(description: str, total: float) -> Iterator[Callable[..., None]]:
        steps.append(total)
        yield lambda count=1, note="": steps.append(count)

    monkeypatch.setattr("tfshop.probing.measuring._console.progress", progress)
    return steps


def run_in_full(model: Any, split: Split, kernels: Mapping[str, np.ndarray]) -> np.ndarray:
    """Scores (rows, outputs) of a model that has other kernels for the time of the run, from its inputs."""
    inputs = bind(split.inputs, split.schema, model_specs(model))
    before = {layer: model.get_layer(layer).get_weights() for layer in kernels}
    try:
        for layer, values in kernels.items():
            model.get_layer(layer).set_weights([values, *before[layer][1:]])
        scores = model(list(inputs.values()), training=False)
    finally:
        for layer, weights in before.items():
            model.get_layer(layer).set_weights(weights)
    columns = scores if isinstance(scores, list) else [scores]
    return np.concatenate([column.numpy().reshape(-1, 1) for column in columns], axis=1)


def auc_lost(split: Split, before: np.ndarray, after: np.ndarray) -> float:
    """Difference of scikit-learn's AUC."""
    labels = np.asarray(split.labels).reshape(-1)
    return float(roc_auc_score(labels, before.reshape(-1)) - roc_auc_score(labels, after.reshape(-1)))
