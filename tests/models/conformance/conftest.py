"""Every network of `MODELS`, built once: what a network has to do, whatever features it is given.

A new network is tested by its row in `MODELS`; where it needs other features, hyperparameters or outputs than most, it
has a row in `networks.NEEDS` too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from helpers import first_rows
from networks import batch_of, keras_outputs, outputs_by_name, spread

from models.conformance.shared import MOST_ROWS, NUM_IDS, Built, Files, Scored, Step, build, loss_of, richest
from tfshop._keras import tf
from tfshop.data import Splits
from tfshop.data.datasets.synthetic import synthetic
from tfshop.export import convert
from tfshop.models import known_hyperparameters
from tfshop.training import LazyAdam


@pytest.fixture(scope="session")
def kinds(kinds: dict[str, Splits]) -> dict[str, Splits]:
    """The shared schemas, with 26 ids instead of three: as many as a loop over pairs would choke on."""
    ids = synthetic(1000, num_id_features=NUM_IDS, rows_per_feature=20, num_numeric=0, batch_size=256, seed=3)
    return {**kinds, "ids": ids}


@pytest.fixture(scope="session")
def built(kinds: dict[str, Splits]) -> Built:
    """Each network once a schema, with dropout, and with weights large enough for scores to differ."""

    @cache
    def of(name: str, kind: str) -> Any:
        dropout = {"dropout": 0.5} if "dropout" in known_hyperparameters(name) else {}
        model = build(name, kinds[kind], **dropout)
        spread(model)
        return model

    return of


@pytest.fixture(scope="session")
def file(built: Built) -> Files:
    """Its float32 file."""
    return cache(lambda name, kind: convert(built(name, kind), "float32"))


@pytest.fixture(scope="session")
def scored(built: Built, kinds: dict[str, Splits]) -> Scored:
    """Its scores in Keras of the first training rows, by output name."""
    return cache(lambda name, kind: keras_outputs(built(name, kind), first_rows(kinds[kind].train.inputs, MOST_ROWS)))


@pytest.fixture(scope="session")
def step(kinds: dict[str, Splits]) -> Callable[[str], Step]:
    """One step of the house's optimizer from fresh weights."""

    @cache
    def of(name: str) -> Step:
        data = kinds[richest(name)]
        model = build(name, data)
        initial = model.get_weights()
        rows, labels = batch_of(data, name, 512)
        with tf.GradientTape() as tape:
            loss = loss_of(outputs_by_name(model, rows, training=True), labels)
        gradients = tape.gradient(loss, model.trainable_weights)
        LazyAdam(1e-2).apply_gradients(
            (gradient, weight)
            for gradient, weight in zip(gradients, model.trainable_weights, strict=True)
            if gradient is not None
        )
        after = loss_of(outputs_by_name(model, rows), labels)
        found = {
            weight.name: None if gradient is None else tf.convert_to_tensor(gradient).numpy()
            for weight, gradient in zip(model.trainable_weights, gradients, strict=True)
        }
        return Step(initial, float(loss), float(after), found)

    return of
