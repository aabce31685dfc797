"""Every network comes back from disk without code of the user."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import first_rows
from networks import keras_outputs, needs

from models.conformance.shared import Built, each_network, richest
from tfshop._keras import keras
from tfshop.data import Splits
from tfshop.models import MODELS


@pytest.fixture(scope="module")
def loaded_elsewhere(built: Built, kinds: dict[str, Splits], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores of all networks, loaded from `.keras` files by one fresh process that imports the layers alone."""
    folder = tmp_path_factory.mktemp("saved")
    for name in MODELS:
        built(name, richest(name)).save(folder / f"{name}.keras")
        np.savez(folder / f"{name}_rows.npz", **first_rows(kinds[richest(name)].train.inputs, 50))
    subprocess.run([sys.executable, "-c", LOAD, str(folder)], check=True)
    return folder


# A saved model loads by the classes of its layers: these networks have all that there are.
OF_EVERY_LAYER = (
    *("din", "bst", "fibinet", "finalmlp", "dien", "fm", "afm", "pnn", "dcn_mix", "xdeepfm", "ffm", "nfm", "autoint"),
    *("edcn", "two_tower", "mmoe"),
)


LOAD = """
import sys
from pathlib import Path
import tfshop.layers
from tfshop._keras import keras, tf
import numpy as np
for path in Path(sys.argv[1]).glob("*.keras"):
    model = keras.models.load_model(path, compile=False)
    rows = dict(np.load(path.with_name(f"{path.stem}_rows.npz")))
    outputs = tf.nest.flatten(model(rows, training=False))
    scores = {name: output.numpy() for name, output in zip(model.output_names, outputs)}
    np.savez(path.with_name(f"{path.stem}_scores.npz"), **scores)
"""


@each_network
def test_a_keras_file_loads_in_a_fresh_process(
    name: str, loaded_elsewhere: Path, built: Built, kinds: dict[str, Splits]
) -> None:
    rows = first_rows(kinds[richest(name)].train.inputs, 50)
    scores = np.load(loaded_elsewhere / f"{name}_scores.npz")
    for output, expected in keras_outputs(built(name, richest(name)), rows).items():
        np.testing.assert_allclose(scores[output].reshape(-1), expected, atol=1e-6)


def test_the_saved_models_have_every_layer(built: Built) -> None:
    found = {name: {type(layer) for layer in built(name, needs(name).kinds[0])._flatten_layers()} for name in MODELS}
    assert set().union(*found.values()) == set().union(*(found[name] for name in OF_EVERY_LAYER))


@pytest.mark.parametrize("name", OF_EVERY_LAYER)
def test_a_saved_model_loads_without_custom_objects(
    name: str, built: Built, kinds: dict[str, Splits], tmp_path: Path
) -> None:
    kind = needs(name).kinds[0]
    model = built(name, kind)
    model.save(tmp_path / "saved", save_format="tf")
    loaded = keras.models.load_model(tmp_path / "saved", compile=False)
    assert [type(layer) for layer in loaded.layers] == [type(layer) for layer in model.layers]
    rows = first_rows(kinds[kind].train.inputs, 50)
    for output, expected in keras_outputs(model, rows).items():
        np.testing.assert_allclose(keras_outputs(loaded, rows)[output], expected, atol=1e-6)
