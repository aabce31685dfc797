"""A trained range rounds its layer's output to its own levels."""

from __future__ import annotations

import numpy as np
import pytest

from tfshop._keras import keras
from tfshop.layers import OutputRange


def test_outputs_lie_on_the_levels_of_the_range_and_stay_inside_it() -> None:
    wrapped = OutputRange(keras.layers.Activation("linear", name="plain"), 0.0, 2.55)
    values = np.float32([[-1.0, 0.0, 0.004, 0.006, 1.234, 2.55, 9.0]])
    found = wrapped(values).numpy()
    np.testing.assert_allclose(found, [[0.0, 0.0, 0.0, 0.01, 1.23, 2.55, 2.55]], atol=1e-6)


def test_fewer_bits_leave_fewer_levels() -> None:
    wrapped = OutputRange(keras.layers.Activation("linear"), 0.0, 1.0, num_bits=4)
    found = wrapped(np.linspace(0, 1, 500, dtype=np.float32)[None]).numpy()
    assert len(np.unique(found)) == 16


def test_the_wrapper_has_the_name_of_its_layer() -> None:
    assert OutputRange(keras.layers.Dense(1, name="dense_0"), 0.0, 1.0).name == "dense_0"


def test_training_reaches_the_wrapped_layer() -> None:
    keras.utils.set_random_seed(0)
    wrapped = OutputRange(keras.layers.Dropout(0.5), 0.0, 4.0)
    ones = np.ones((1, 1000), np.float32)
    assert (wrapped(ones, training=True).numpy() == 0).mean() == pytest.approx(0.5, abs=0.1)
    assert (wrapped(ones, training=False).numpy() == 0).sum() == 0


def test_a_model_with_ranges_is_saved_and_loaded_without_custom_code(tmp_path) -> None:
    keras.utils.set_random_seed(0)
    x = keras.Input((4,))
    model = keras.Model(x, OutputRange(keras.layers.Dense(3, name="dense"), -0.5, 1.5, num_bits=6)(x))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    values = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    np.testing.assert_array_equal(model(values), loaded(values))
    assert 2 < len(np.unique(loaded(values))) <= 64
