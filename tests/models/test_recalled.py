"""Copies of networks whose layers are not traced again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from helpers import first_rows, keras_scores, same_weights

from tfshop._keras import keras, tf
from tfshop.models import build_model, rebuild
from tfshop.models.rebuild import fresh
from tfshop.models.rebuild import rebuild as copied


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of the layers that Keras runs to learn what they give."""
    names: list[str] = []
    usual = keras.layers.Layer._infer_output_signature

    def noted(layer: Any, *args: Any) -> Any:
        names.append(layer.name)
        return usual(layer, *args)

    monkeypatch.setattr(keras.layers.Layer, "_infer_output_signature", noted)
    return names


def traced_copy(model: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A copy as Keras makes it."""
    with monkeypatch.context() as patch:
        patch.setattr(rebuild, "called", lambda layer, node, args, kwargs: layer(*args, **kwargs))
        return copied(model)


@pytest.mark.parametrize("name", ["mlp", "dcn", "autoint", "din", "xdeepfm", "fibinet"])
def test_a_copy_is_what_keras_would_make_and_hardly_any_layer_is_run(name, clicks, traced, monkeypatch):
    model = build_model(name, clicks.schema)
    usual = traced_copy(model, monkeypatch)
    traced.clear()
    made = copied(model)
    assert len(traced) <= len(model.layers) / 5, traced
    assert made.get_config() == usual.get_config()
    assert [one.name for one in made.weights] == [one.name for one in usual.weights]
    assert [tuple(one.trainable_weights) == () for one in made.layers] == [
        tuple(one.trainable_weights) == () for one in usual.layers
    ]
    assert {one.name: [str(node.outputs) for node in one._inbound_nodes] for one in made.layers} == {
        one.name: [str(node.outputs) for node in one._inbound_nodes] for one in usual.layers
    }
    assert same_weights(made, model.get_weights())
    rows = first_rows(clicks.test.inputs, 50)
    np.testing.assert_array_equal(keras_scores(made, rows), keras_scores(model, rows))


def test_another_setting_or_shape_is_learned_anew_and_so_is_what_follows(traced):
    x = keras.Input((4,))
    hidden = keras.layers.Dense(6, activation="relu", name="first")(x)
    model = keras.Model(x, keras.layers.Dense(1, name="last")(keras.layers.Dropout(0.5, name="between")(hidden)))

    def replace(layer: Any) -> Any:
        return fresh(layer, changes={"units": 3}) if layer.name == "first" else fresh(layer)

    traced.clear()
    made = copied(model, replace, unfilled=("first", "last"))
    assert traced == ["first", "between", "last"] and made.get_layer("last").kernel.shape == (3, 1)
    traced.clear()
    copied(model)
    assert traced == []


def test_what_a_layer_adds_when_it_is_called_is_there_in_the_copy(traced):
    x = keras.Input((5,), dtype="int32")
    looked_up = keras.layers.Embedding(9, 3, mask_zero=True, name="table")(x)
    pooled = keras.layers.GlobalAveragePooling1D(name="mean")(looked_up)
    penalized = keras.layers.Dense(2, activity_regularizer="l2", kernel_regularizer="l1", name="penalized")(pooled)
    shared = keras.layers.Dense(2, name="shared")
    model = keras.Model(x, keras.layers.Add(name="both")([shared(penalized), shared(shared(penalized))]))
    traced.clear()
    made = copied(model)
    assert {"table", "mean", "penalized"} <= set(traced) and "both" not in traced
    rows = np.array([[1, 2, 0, 0, 0], [0, 0, 0, 0, 0]], dtype=np.int32)
    np.testing.assert_array_equal(made(rows), model(rows))
    assert len(made.losses) == len(model.losses) == 2
    np.testing.assert_allclose([float(one) for one in made.losses], [float(one) for one in model.losses])


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_operators_with_numbers_slices_and_several_outputs_are_copied(policy, monkeypatch):
    x = keras.Input((4, 6), name="x")
    left, right = tf.split(tf.where(x > 0.5, 0.0, x), 2, axis=-1)
    joined = tf.concat([left[:, 0, :], right[:, 1, 1:]], axis=-1)
    dense = keras.layers.Dense(3, activation="relu", name="dense", dtype=policy)(joined)
    kept = keras.layers.Dropout(0.5, name="dropout", dtype=policy)(dense, training=True)
    shaped = tf.reshape(tf.cast(kept, tf.float32), (-1, tf.shape(x)[1] - 1))
    model = keras.Model(x, [tf.reduce_sum(shaped, axis=1), joined * 2.0])
    made = copied(model)
    usual = traced_copy(model, monkeypatch)
    assert [str(one) for one in made.outputs] == [str(one) for one in usual.outputs]
    rows = np.random.default_rng(0).normal(size=(5, 4, 6)).astype(np.float32)
    np.testing.assert_array_equal(made(rows)[1], model(rows)[1])
    keras.utils.set_random_seed(1)
    before = model(rows)[0].numpy()
    keras.utils.set_random_seed(1)
    np.testing.assert_array_equal(made(rows)[0], before)
