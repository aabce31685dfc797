"""Dropout follows from the seed and the step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfshop._keras import keras, tf
from tfshop.training import LazyAdam
from tfshop.training.noise import noise_by_step


@pytest.fixture
def model() -> Any:
    inputs = keras.Input((64,), name="numeric")
    first, second = keras.layers.Dropout(0.5)(inputs), keras.layers.GaussianNoise(1.0)(inputs)
    inner = keras.Model(inputs, [first, keras.layers.Dropout(0.5)(inputs), second])
    model = keras.Model(inputs, inner(inputs))
    model.compile(LazyAdam(), "mse")
    return model


def drawn(model: Any) -> list[np.ndarray]:
    """What the layers make of ones, in a step function."""
    return [output.numpy() for output in tf.function(lambda x: model(x, training=True))(tf.ones((3, 64)))]


def test_the_same_step_draws_the_same_and_another_step_or_seed_something_else(model: Any) -> None:
    """Whatever was drawn before."""
    with noise_by_step(model, seed=1):
        first = drawn(model)
        model.optimizer.iterations.assign(1)
        later = drawn(model)
        model.optimizer.iterations.assign(0)
        again = drawn(model)
    with noise_by_step(model, seed=2):
        other = drawn(model)
    for a, b, c, d in zip(first, again, later, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).any() and (a != d).any()
    assert (first[0] != first[1]).any(), "layers of the same kind draw for themselves"
    assert 0.3 < np.mean(first[0] == 0) < 0.7


def test_layers_are_as_before_when_it_ends(model: Any) -> None:
    layers = [layer for layer in model.submodules if hasattr(layer, "_random_generator")]
    kinds = [layer._random_generator._rng_type for layer in layers]
    with pytest.raises(KeyError), noise_by_step(model, seed=1):
        raise KeyError
    assert [layer._random_generator._rng_type for layer in layers] == kinds and len(kinds) == 3
    step = tf.function(lambda x: model(x, training=True)[0])
    assert (step(tf.ones((3, 64))).numpy() != step(tf.ones((3, 64))).numpy()).any(), "from a state, as ever"
