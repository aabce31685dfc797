"""Files of compiled models: what they were trained with need not be known."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

import tfshop as ts
from tfshop._keras import keras
from tfshop.errors import ModelError


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


def test_an_optimizer_of_a_network_inside_is_refused_for_keras_would_import_it(tmp_path: Path) -> None:
    inputs = keras.Input((2,))
    inside = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(inputs))
    inside.compile(optimizer=UnheardOf(), loss="binary_crossentropy")
    outer = keras.Input((2,))
    keras.Model(outer, inside(outer)).save(tmp_path / "model.keras")
    with pytest.raises(ModelError, match=r"made of UnheardOf"):
        ts.load_model(tmp_path / "model.keras")


def test_a_file_whose_network_is_a_list_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", "[]")
        archive.writestr("metadata.json", "{}")
    with pytest.raises(ModelError, match=r"cannot be loaded.*Fix:"):
        ts.load_model(tmp_path / "model.keras")
