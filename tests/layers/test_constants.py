"""Constants are given for as many rows as are read, between what was there before, and are trained."""

from __future__ import annotations

import numpy as np
import pytest

from tfshop._keras import keras, tf
from tfshop.export import convert
from tfshop.layers import ConstantParts, ConstantRows
from tfshop.runtime import Scorer, read_graph

VALUES = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def test_rows_repeat_one_constant_whatever_is_read() -> None:
    layer = ConstantRows((2, 3))
    layer(tf.constant([[np.nan], [1.0]]))
    layer.set_weights([np.arange(6.0).reshape(2, 3)])
    found = layer(tf.constant([[np.nan], [1.0], [2.0]])).numpy()
    np.testing.assert_array_equal(found, [np.arange(6.0).reshape(2, 3)] * 3)
    whole = ConstantRows((2,), dtype="int32")
    assert whole(tf.zeros((4, 1))).dtype == tf.int32 and not whole.trainable_weights and layer.trainable_weights


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("positions", [[0], [1, 3], [4]])
def test_parts_stand_between_what_is_read(axis: int, positions: list[int]) -> None:
    positions = [position for position in positions if position < VALUES.shape[axis] + 1]
    layer = ConstantParts(positions, axis)
    layer(VALUES)
    shape = layer.get_weights()[0].shape
    constant = -1 - np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    layer.set_weights([constant])
    found = layer(VALUES).numpy()
    others = [place for place in range(found.shape[axis]) if place not in positions]
    np.testing.assert_array_equal(np.take(found, others, axis), VALUES)
    for row in np.take(found, positions, axis):
        np.testing.assert_array_equal(row, constant)


def test_the_file_gives_them_for_any_number_of_rows() -> None:
    x = keras.Input((4,), name="x")
    both = keras.layers.Concatenate()([ConstantRows((2,), name="rows")(x), ConstantParts([1, 3], name="parts")(x)])
    model = keras.Model(x, keras.layers.Dense(1, name="score")(both))
    random = np.random.default_rng(0)
    model.set_weights([random.normal(size=weight.shape) for weight in model.get_weights()])
    file = convert(keras.Model.from_config(model.get_config()), "float32")
    assert read_graph(file).custom_operators == ()
    file = convert(model, "float32")
    for num_rows in (1, 7):
        rows = random.normal(size=(num_rows, 4)).astype(np.float32)
        np.testing.assert_allclose(np.ravel(Scorer(file)({"x": rows})), model(rows).numpy().ravel(), atol=1e-6)
