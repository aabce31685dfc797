"""Files of compiled models: what they were trained with need not be known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tfshop as ts
from tfshop._keras import keras


class UnheardOf(keras.optimizers.SGD):
    """An optimizer that nobody registered."""


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_a_file_loads_without_its_optimizer(tmp_path: Path, ending: str) -> None:
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(inputs))
    model.compile(optimizer=UnheardOf(), loss="binary_crossentropy")
    model.fit(np.ones((4, 2)), np.ones(4), verbose=0)
    path = tmp_path / f"model.{ending}"
    model.save(path)
    loaded = ts.load_model(path)
    np.testing.assert_array_equal(loaded(np.ones((1, 2))), model(np.ones((1, 2))))
