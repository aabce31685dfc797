"""Models that a converter binds by name or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from tfshop._keras import keras, tf


@keras.utils.register_keras_serializable(package="tests")
class Inverse(keras.layers.Layer):
    """Inverts 2 x 2 matrices, which LiteRT cannot."""

    def call(self, values: Any) -> Any:
        """Invert (batch, 4) read as (batch, 2, 2)."""
        return tf.reshape(tf.linalg.inv(tf.reshape(values, [-1, 2, 2]) + 3 * tf.eye(2)), [-1, 4])


@pytest.fixture
def flex_model() -> Any:
    """A network that needs an operator only TensorFlow has."""
    ids = keras.Input((3,), dtype="int32", name="ids")
    fields = keras.layers.Flatten()(keras.layers.Embedding(200, 4)(ids))
    inverted = Inverse(name="inverse")(keras.layers.Dense(4)(fields))
    return keras.Model(ids, keras.layers.Dense(1, activation="sigmoid", name="probability")(inverted), name="flexible")
