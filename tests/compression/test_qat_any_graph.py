"""Whatever graph of common layers over whatever columns: QAT takes it, and the file scores as the trained network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from helpers import keras_scores
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from networks import spread

from tfshop._keras import keras, tf
from tfshop.compression import QAT, Candidate
from tfshop.data import Splits
from tfshop.export import Export
from tfshop.layers import OutputRange
from tfshop.models.rebuild import inlined
from tfshop.runtime import Scorer, read_graph, walk_from_input

layers = keras.layers
WIDTH = 6
ROWS = 300
ACTIVATIONS = ("relu", "linear", "sigmoid", "softmax")
ROUNDINGS = 3  # that a level is off by: of the kernel's arithmetic, of the sum, of what is inside a layer

steps = st.tuples(
    st.sampled_from(
        (
            *("relu dense", "linear dense", "sigmoid dense", "normalized dense", "normalization", "dropout", "relu"),
            *("tanh", "leaky", "concatenate", "add", "multiply", "dot", "reshape", "shared dense"),
            *("subtract", "prelu", "softmax", "softmax dense", "layer normalization"),
            *("nested", "nested twice", "nested of two"),
        )
    ),
    st.integers(0, 7),
    st.integers(0, 7),
)


def submodel(num_inputs: int, name: str) -> Any:
    """A network that others use as a layer, with one of its own inside."""
    inner = keras.Sequential([layers.Dense(WIDTH, activation="relu"), layers.Dense(WIDTH)], name=f"{name}_inner")
    read = [keras.Input((WIDTH,)) for _ in range(num_inputs)]
    hidden = inner(layers.Multiply()(read) if num_inputs > 1 else read[0])
    return keras.Model(read, layers.PReLU()(layers.Add()([hidden, read[0]])), name=name)


def _steps_of(x: Any) -> Any:
    return layers.Reshape((2, WIDTH // 2))(x)


class Drawing:
    """A graph that grows by a layer or two a step, all tensors (batch, WIDTH)."""

    def __init__(self, first: Any) -> None:
        self.tensors = [first]
        self.shared = layers.Dense(WIDTH, activation="relu")
        self.tower = submodel(1, "shared_tower")

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
            "subtract": lambda: layers.Subtract()([x, y]),
            "prelu": lambda: layers.PReLU()(x),
            "softmax": lambda: layers.Softmax()(x),
            "layer normalization": lambda: layers.LayerNormalization()(x),
            "attention": lambda: layers.Flatten()(layers.MultiHeadAttention(2, 3)(*map(_steps_of, (x, y)))),
            "nested": lambda: submodel(1, f"tower_{len(self.tensors)}")(x),
            "nested twice": lambda: layers.Subtract()([self.tower(x), self.tower(y)]),
            "nested of two": lambda: submodel(2, f"pair_{len(self.tensors)}")([x, y]),
        }
        return makers[kind]()


def _filled(numbers: Any) -> Any:
    return tf.where(tf.math.is_nan(numbers), tf.zeros_like(numbers), numbers)


def _told_missing(numbers: Any) -> Any:
    missing = tf.cast(tf.math.is_nan(numbers), tf.float32)
    return layers.Concatenate()([_filled(numbers), missing])


def _log(numbers: Any) -> Any:
    return tf.math.log1p(tf.nn.relu(_filled(numbers)))


def _dense(values: Any) -> Any:
    return layers.Dense(WIDTH, activation="relu")(values)


def _normalized(values: Any) -> Any:
    return layers.BatchNormalization()(values)


# How people read raw numbers, of which some are missing; a vector has none missing.
NUMBERS: dict[str, Callable[[Any], Any]] = {
    "as they are": _filled,
    "told missing": _told_missing,
    "logarithms": _log,
    "normalized": lambda numbers: _normalized(_filled(numbers)),
    "dense": lambda numbers: _dense(_filled(numbers)),
}
VECTORS: dict[str, Callable[[Any], Any]] = {"as it is": tf.identity, "dense": _dense, "normalized": _normalized}
inputs = st.tuples(st.sampled_from([None, *NUMBERS]), st.sampled_from([None, *VECTORS]))


def network(drawn: list[tuple[str, int, int]], data: Splits, numbers: str | None, vector: str | None) -> Any:
    keras.backend.clear_session()
    ids = keras.Input((3,), dtype="int32", name="ids")
    read, joined = [ids], [layers.Flatten()(layers.Embedding(max(data.schema.tables.values()), 4, name="table")(ids))]
    for name, ways, way in (("numeric", NUMBERS, numbers), ("vector_image", VECTORS, vector)):
        if way is not None:
            read.append(keras.Input(data.train.inputs[name].shape[1:], name=name))
            joined.append(ways[way](read[-1]))
    fields = layers.Concatenate()(joined) if len(joined) > 1 else joined[0]
    drawing = Drawing(layers.Dense(WIDTH, activation="relu", name="first")(fields))
    for step in drawn:
        drawing.draw(*step)
    hidden = layers.Concatenate(name="joined")([drawing.tensors[0], drawing.tensors[-1]])
    model = keras.Model(read, layers.Dense(1, activation="sigmoid", name="probability")(hidden))
    spread(model)
    return model


def one_level(model: Any, rows: dict[str, np.ndarray]) -> float:
    """How far the scores go where every range is a level wider or narrower; the model is left so."""
    ranged = {layer: (layer.minimum, layer.maximum) for layer in model.layers if isinstance(layer, OutputRange)}
    scores = keras_scores(model, rows)
    furthest = 0.0
    for factor in (1 + 1 / 255, 1 - 1 / 255):
        for layer, ends in ranged.items():
            layer.minimum, layer.maximum = (end * factor for end in ends)
        furthest = max(furthest, float(np.abs(keras_scores(model, rows) - scores).max()))
    return furthest


@settings(
    phases=(Phase.explicit, Phase.generate),  # one network is as small as another
    max_examples=6,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@example(drawn=[("relu dense", 0, 0), ("add", 0, 1)], read=("told missing", "normalized"))
@example(
    drawn=[("nested of two", 0, 0), ("subtract", 0, 1), ("softmax", 1, 0), ("nested twice", 0, 2)],
    read=("as they are", None),
)
@example(  # not drawn at random: the tensors inside an attention have no trained ranges, which a normalization shows
    drawn=[("attention", 0, 0), ("prelu", 0, 0), ("layer normalization", 0, 0), ("nested", 0, 1)],
    read=(None, "dense"),
)
@given(drawn=st.lists(steps, min_size=2, max_size=6), read=inputs)
def test_any_graph_is_shipped_as_it_was_trained(
    drawn: list[tuple[str, int, int]], read: tuple[str | None, str | None], kinds: dict[str, Splits]
) -> None:
    data = kinds["every kind"]
    model = network(drawn, data, *read)
    brief = replace(data, train=data.train.take(256))
    QAT().check(model, brief.schema)
    candidate = QAT().apply(Candidate(model, brief.schema), brief, seed=0)
    trained, notes = candidate.model, candidate.history[-1].notes
    named = {*notes["layers"], *(row["layer"] for row in notes["left_alone"])}
    assert named == {layer.name for layer in inlined(model).layers if layer.weights}, "silent about a layer"
    found = {type(layer).__module__.split(".")[0] for layer in trained._flatten_layers()}
    assert "tensorflow_model_optimization" not in found
    content = Export("int8", calibration_rows=256).to_bytes(trained, brief)
    graph = read_graph(content)
    path = walk_from_input(graph, "ids")
    assert path.lookups and path.losses == ()
    steps = [t.scales[0] for t in graph.tensors if t.dtype == "int8" and t.scales is not None and not t.is_constant]
    for name, (low, high) in notes["ranges"].items():
        if "normalization" in name:
            continue  # the converter may fold it into the kernel that reads it
        assert np.isclose((high - low) / 255, steps, rtol=1e-3).any(), f"no tensor of the file has the range of {name}"
    rows = {tensor.name: data.train.inputs[tensor.name][-ROWS:] for tensor in model.inputs}
    gaps = np.abs(Scorer(content)(rows) - keras_scores(trained, rows))
    assert gaps.max() <= ROUNDINGS * one_level(trained, rows) + 1e-3
    assert gaps.mean() <= 5e-3
