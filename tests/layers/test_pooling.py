"""Sequences are averaged over what is really there."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from tfshop._keras import keras, tf
from tfshop.layers import FieldSlice, FieldSum, MaskedMean
from tfshop.layers.pooling import NARROW


@pytest.mark.parametrize("width", [3, NARROW, NARROW + 1])
def test_padding_does_not_enter_the_mean(width: int) -> None:
    embeddings = np.random.default_rng(0).normal(size=(3, 4, width)).astype(np.float32)
    ids = np.int32([[5, 9, 0, 0], [1, 2, 3, 4], [7, 0, 0, 0]])
    found = MaskedMean()([embeddings, tf.constant(ids)]).numpy()
    assert found.shape == (3, 1, width)
    np.testing.assert_allclose(found[0, 0], embeddings[0, :2].mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[1, 0], embeddings[1].mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[2, 0], embeddings[2, 0], rtol=1e-6)


def test_an_empty_sequence_gives_zeros_and_not_a_division_by_zero() -> None:
    found = MaskedMean()([tf.fill((1, 3, 2), 7.0), tf.zeros((1, 3), tf.int32)])
    assert found.numpy().tolist() == [[[0.0, 0.0]]]


def test_a_slice_takes_neighbouring_fields() -> None:
    fields = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
    layer = FieldSlice.from_config(FieldSlice(1, 2).get_config())
    np.testing.assert_array_equal(layer(fields), fields[:, 1:3])


@pytest.mark.parametrize("width", [5, None], ids=["five fields", "any number of them"])
def test_training_cuts_and_learns_as_any_slice_does(width: int | None) -> None:
    layer = FieldSlice(1, 3)

    @tf.function(input_signature=[tf.TensorSpec((None, width, 2)), tf.TensorSpec((None, 3, 2))])
    def gradients(fields: tf.Tensor, weights: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(fields)
            cuts = layer(fields, training=True), layer(fields, training=False), fields[:, 1:4]
            sums = [tf.reduce_sum(weights * cut) for cut in cuts]
        return [*cuts, *(tape.gradient(total, fields) for total in sums)]

    fields, weights = tf.random.stateless_normal((4, 5, 2), (0, 1)), tf.random.stateless_normal((4, 3, 2), (2, 3))
    training, scoring, plain, *slopes = gradients(fields, weights)
    np.testing.assert_array_equal(training, plain)
    np.testing.assert_array_equal(scoring, plain)
    for slope in slopes:
        np.testing.assert_array_equal(slope[:, 1:4], weights)
        assert not slope[:, 0].numpy().any() and not slope[:, 4].numpy().any()


def test_the_sum_runs_over_fields_and_keeps_rows_and_dimensions_apart() -> None:
    fields = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
    np.testing.assert_array_equal(FieldSum()(fields), fields.sum(axis=1))


@pytest.mark.parametrize("width", [1, NARROW + 1])
def test_a_sum_keeps_how_long_a_history_is_and_a_root_half_of_it(width: int) -> None:
    embeddings, ids = tf.ones((1, 4, width)), tf.constant([[3, 9, 1, 2]])
    found = {name: np.unique(MaskedMean(name)([embeddings, ids])).tolist() for name in ("mean", "sum", "sqrt")}
    assert found == {"mean": [1.0], "sum": [4.0], "sqrt": [2.0]}


@pytest.mark.parametrize("width", [NARROW, NARROW + 1])
@pytest.mark.parametrize("pooling", ["mean", "sqrt"])
def test_the_file_pools_as_keras_does(width: int, pooling: str) -> None:
    inputs = keras.Input((4,), dtype="int32", name="ids")
    rows = keras.layers.Embedding(10, width, embeddings_initializer="normal")(inputs)
    model = keras.Model(inputs, MaskedMean(pooling)([rows, inputs]))
    interpreter = Interpreter(model_content=tf.lite.TFLiteConverter.from_keras_model(model).convert())
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], (3, 4))
    interpreter.allocate_tensors()
    ids = np.int32([[5, 9, 0, 0], [1, 2, 3, 4], [0, 0, 0, 0]])
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], ids)
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(found, model(ids), rtol=1e-5, atol=1e-7)
