"""Whatever graph of common layers somebody draws: QAT takes it, and the file scores as the trained network does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from helpers import keras_scores
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import spread

from tfshop._keras import keras
from tfshop.compression import QAT, Candidate
from tfshop.compression.rebuild import copy_model
from tfshop.data import Splits
from tfshop.export import Export
from tfshop.layers import OutputRange
from tfshop.models.rebuild import fresh
from tfshop.runtime import Scorer, read_graph, walk_from_input

layers = keras.layers
WIDTH = 6
ROWS = 300
ACTIVATIONS = ("relu", "linear", "sigmoid")
ROUNDINGS = 3  # that a level is off by: of the kernel's arithmetic, of the sum, of what is inside a layer

steps = st.tuples(
    st.sampled_from(
        (
            *("relu dense", "linear dense", "sigmoid dense", "normalized dense", "normalization", "dropout", "relu"),
            *("tanh", "leaky", "concatenate", "add", "multiply", "dot", "reshape", "shared dense"),
        )
    ),
    st.integers(0, 7),
    st.integers(0, 7),
)


class Drawing:
    """A graph that grows by a layer or two a step, all tensors (batch, WIDTH)."""

    def __init__(self, first: Any) -> None:
        self.tensors = [first]
        self.shared = layers.Dense(WIDTH, activation="relu")

    def draw(self, kind: str, one: int, other: int) -> None:
        x, y = (self.tensors[position % len(self.tensors)] for position in (-1 - one % 2, other))
        self.tensors.append(self._drawn(kind, x, y))

    def _drawn(self, kind: str, x: Any, y: Any) -> Any:
        makers: dict[str, Callable[[], Any]] = {
            **{f"{name} dense": partial(layers.Dense(WIDTH, activation=name), x) for name in ACTIVATIONS},
            "normalized dense": lambda: layers.ReLU()(layers.BatchNormalization()(layers.Dense(WIDTH)(x))),
            "normalization": lambda: layers.BatchNormalization()(x),
            "dropout": lambda: layers.Dropout(0.2)(x),
            "relu": lambda: layers.Activation("relu")(x),
            "tanh": lambda: layers.Activation("tanh")(x),
            "leaky": lambda: layers.LeakyReLU(0.1)(x),
            "concatenate": lambda: layers.Dense(WIDTH)(layers.Concatenate()([x, y])),
            "add": lambda: layers.Add()([x, y]),
            "multiply": lambda: layers.Multiply()([x, y]),
            "dot": lambda: layers.Dense(WIDTH)(layers.Concatenate()([layers.Dot(axes=1)([x, y]), x])),
            "reshape": lambda: layers.Flatten()(layers.Permute((2, 1))(layers.Reshape((2, WIDTH // 2))(x))),
            "shared dense": lambda: layers.Add()([self.shared(x), self.shared(y)]),
        }
        return makers[kind]()


def network(drawn: list[tuple[str, int, int]]) -> Any:
    keras.backend.clear_session()
    ids = keras.Input((3,), dtype="int32", name="ids")
    fields = layers.Flatten()(layers.Embedding(110, 4, name="table")(ids))
    drawing = Drawing(layers.Dense(WIDTH, activation="relu", name="first")(fields))
    for step in drawn:
        drawing.draw(*step)
    hidden = layers.Concatenate(name="joined")([drawing.tensors[0], drawing.tensors[-1]])
    model = keras.Model(ids, layers.Dense(1, activation="sigmoid", name="probability")(hidden))
    spread(model)
    return model


def one_level(model: Any, rows: dict[str, np.ndarray]) -> float:
    """How far the scores go where every range is a level wider or narrower."""

    def scaled(factor: float) -> Any:
        def replace_layer(layer: Any) -> Any:
            if not isinstance(layer, OutputRange):
                return fresh(layer)
            return OutputRange(fresh(layer.layer), layer.minimum * factor, layer.maximum * factor)

        return copy_model(model, replace_layer)

    scores = keras_scores(model, rows)
    return max(
        float(np.abs(keras_scores(scaled(factor), rows) - scores).max()) for factor in (1 + 1 / 255, 1 - 1 / 255)
    )


@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(drawn=st.lists(steps, min_size=2, max_size=6))
def test_any_graph_is_shipped_as_it_was_trained(drawn: list[tuple[str, int, int]], dense_clicks: Splits) -> None:
    model = network(drawn)
    brief = replace(dense_clicks, train=dense_clicks.train.take(256))
    QAT().check(model, brief.schema)
    trained = QAT().apply(Candidate(model, brief.schema), brief, seed=0).model
    kinds = {type(layer).__module__.split(".")[0] for layer in trained._flatten_layers()}
    assert "tensorflow_model_optimization" not in kinds
    content = Export("int8", calibration_rows=256).to_bytes(trained, brief)
    path = walk_from_input(read_graph(content), "ids")
    assert path.lookups and path.losses == ()
    rows = {"ids": dense_clicks.validation.inputs["ids"][:ROWS]}
    gaps = np.abs(Scorer(content)(rows) - keras_scores(trained, rows))
    assert gaps.max() <= ROUNDINGS * one_level(trained, rows) + 1e-3
    assert gaps.mean() <= 5e-3
