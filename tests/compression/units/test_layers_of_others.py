"""Attention and recurrence that others wrote keep the width they read, and no feature or unit goes at their cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from tfshop._keras import keras, tf
from tfshop.compression import Candidate, DropFeatures, PruneUnits
from tfshop.compression.units.features import follow_features
from tfshop.compression.units.groups import groups
from tfshop.compression.units.surgery import shrunk
from tfshop.compression.units.trace import follow
from tfshop.data import Splits
from tfshop.training.inputs import model_specs

from .graphs import some_of, zeroed

layers = keras.layers
WIDTH, LENGTH = 8, 5


@keras.utils.register_keras_serializable(package="tests")
class TargetAttention(layers.Layer):
    """Scores of positions by a matrix of its own, divided by their sum; a weighted sum of them."""

    def build(self, input_shape: Any) -> None:
        width = int(input_shape[0][-1])
        self.matrix = self.add_weight("matrix", shape=(width, int(input_shape[1][-1])))

    def call(self, inputs: Any) -> Any:
        positions, target, ids = inputs
        scores = tf.einsum("blw,wv,bv->bl", positions, self.matrix, target)
        weights = tf.nn.softmax(tf.where(ids > 0, scores, -1e9))
        return tf.einsum("bl,blw->bw", weights, positions)


@keras.utils.register_keras_serializable(package="tests")
class SelfAttention(layers.Layer):
    """Every position sees every other, scaled by the width it reads."""

    def build(self, input_shape: Any) -> None:
        width = int(input_shape[-1])
        self.query, self.key = (self.add_weight(name, shape=(width, width)) for name in ("query", "key"))

    def call(self, positions: Any) -> Any:
        scores = tf.matmul(positions @ self.query, positions @ self.key, transpose_b=True)
        return tf.nn.softmax(scores / np.sqrt(WIDTH)) @ positions


@keras.utils.register_keras_serializable(package="tests")
class Decay(layers.Layer):
    """A recurrence over positions, unrolled: each state is a gate's mixture of the last one and what is read."""

    def build(self, input_shape: Any) -> None:
        self.gate = self.add_weight("gate", shape=(int(input_shape[-1]),))

    def call(self, positions: Any) -> Any:
        gate = tf.sigmoid(self.gate)
        state = positions[:, 0]
        for step in range(1, LENGTH):
            state = gate * state + (1 - gate) * tf.tanh(positions[:, step])
        return state


def keras_gru(positions: Any, target: Any, ids: Any) -> Any:
    return layers.GRU(6)(positions)


READERS: Mapping[str, Callable[..., Any]] = {
    "target attention": lambda positions, target, ids: TargetAttention(name="own")([positions, target, ids]),
    "self attention": lambda positions, target, ids: layers.Flatten()(SelfAttention(name="own")(positions)),
    "recurrence": lambda positions, target, ids: Decay(name="own")(positions),
    "Keras' recurrence": keras_gru,
    "a loop of operators": lambda positions, target, ids: tf.reduce_max(positions * 2.0, axis=1),
}


def network(data: Splits, reader: str) -> Any:
    """A history goes through a Dense layer, and through what others wrote; a tower follows."""
    keras.utils.set_random_seed(0)
    tables = {name: layers.Embedding(rows, WIDTH, name=f"embed_{name}") for name, rows in data.schema.tables.items()}
    inputs = {f"id_{number}": keras.Input((1,), dtype="int32", name=f"id_{number}") for number in range(3)}
    history = inputs["hist_id_0"] = keras.Input((LENGTH,), dtype="int32", name="hist_id_0")
    target, *others = (layers.Flatten()(tables[name](inputs[name])) for name in ("id_0", "id_1", "id_2"))
    positions = layers.Dense(WIDTH, activation="relu", name="before")(tables["id_0"](history))
    read = READERS[reader](positions, target, history)
    hidden = layers.Dense(12, activation="relu", name="behind")(layers.Concatenate()([read, target, *others]))
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid", name="probability")(hidden), name="others")
    random = np.random.default_rng(0)
    model.set_weights([random.normal(0, 0.4, weight.shape) for weight in model.get_weights()])
    return model


def rows_of(model: Any, data: Splits) -> dict[str, np.ndarray]:
    inputs, _ = next(iter(data.validation.take(50).with_batch_size(50).batches(inputs=model_specs(model))))
    return {name: np.asarray(values) for name, values in inputs.items()}


@pytest.mark.parametrize("reader", READERS)
def test_units_that_are_zero_go_and_what_others_read_stays(reader: str, clicks: Splits) -> None:
    model = network(clicks, reader)
    trace = follow(model)
    gone = some_of(groups(trace.ledger), 0.5)
    zeroed(trace, gone)
    rows = rows_of(model, clicks)
    smaller = shrunk(trace, gone)
    np.testing.assert_allclose(smaller(rows).numpy(), model(rows).numpy(), atol=1e-6)
    assert smaller.get_layer("behind").units == 6 and smaller.get_layer("before").units == WIDTH
    after = PruneUnits(0.5, epochs=0).apply(Candidate(model, clicks.schema), clicks, seed=0)
    reasons = {row["layer"]: row["reason"] for row in after.history[0].notes["left_alone"]}
    assert "reads it, and what" in reasons["before"] and after.model.get_layer("behind").units == 6
    assert ("own" in reasons) == any(layer.name == "own" for layer in model.layers)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["id_0", "hist_id_0", "id_1"])
def test_a_feature_goes_and_the_layer_reads_its_mean(reader: str, name: str, clicks: Splits) -> None:
    model = network(clicks, reader)
    step = DropFeatures((name,), epochs=0)
    step.check(model, clicks.schema)
    after = step.apply(Candidate(model, clicks.schema), clicks, seed=0)
    replaced = (name, reader) in (("id_0", "target attention"), ("hist_id_0", "target attention"))
    assert after.history[0].notes["how"][name] == ("replaced by its mean" if replaced else "removed")
    rows = rows_of(model, clicks)
    found = after.model(rows).numpy()
    assert np.isfinite(found).all() and np.ptp(found) > 0
    for other in rows:
        changed = after.model({**rows, other: (rows[other] + 7) % 50}).numpy()
        assert np.array_equal(changed, found) == (other == name)


def test_zeros_of_a_feature_are_what_a_layer_of_others_reads(clicks: Splits) -> None:
    """A table of zeros gives what the network without it gives."""
    model = network(clicks, "target attention")
    table = model.get_layer("embed_id_1")
    table.set_weights([np.zeros_like(table.get_weights()[0])])
    features = follow_features(model, clicks.schema, ["id_1"])
    smaller = shrunk(features.trace, features.atoms(["id_1"]))
    rows = rows_of(model, clicks)
    np.testing.assert_allclose(smaller(rows).numpy(), model(rows).numpy(), atol=1e-6)
