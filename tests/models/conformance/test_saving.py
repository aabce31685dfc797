"""Every network comes back from disk without code of the user."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import first_rows
from networks import HISTORY, keras_outputs, needs, spread

from models.conformance.shared import Built, Scored, each_network, richest
from tfshop._keras import keras
from tfshop.data import Splits
from tfshop.models import MODELS, build_model, known_hyperparameters

Rows = dict[str, np.ndarray]
NUM_ROWS = 50


@pytest.fixture(scope="module")
def loaded_elsewhere(built: Built, kinds: dict[str, Splits], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores of all networks, loaded from `.keras` files by one fresh process that imports the layers alone."""
    folder = tmp_path_factory.mktemp("saved")
    for name in MODELS:
        built(name, richest(name)).save(folder / f"{name}.keras")
        np.savez(folder / f"{name}_rows.npz", **first_rows(kinds[richest(name)].train.inputs, NUM_ROWS))
    subprocess.run([sys.executable, "-c", LOAD, str(folder)], check=True)
    return folder


# A saved model loads by the classes of its layers: these networks have all that there are, each as seldom as they can.
OF_EVERY_LAYER: dict[str, dict[str, Any]] = {
    **{name: {} for name in ("bst", "dien", "fibinet", "finalmlp", "fm", "afm", "pnn", "ffm", "two_tower")},
    "din": {"attention_hidden": (4,)},
    "dcn_mix": {"num_crosses": 1},
    "xdeepfm": {"maps": (4,)},
    "nfm": {"dropout": 0.5},
    "autoint": {"num_layers": 1},
    "edcn": {"num_layers": 1},
    "mmoe": {"num_experts": 2, "heads": (4,)},
}


@pytest.fixture(scope="module")
def small(kinds: dict[str, Splits]) -> Callable[[str], tuple[Any, Rows]]:
    """They have one hidden layer; those that read a history, one of two behaviours and little beside it."""

    @cache
    def of(name: str) -> tuple[Any, Rows]:
        data = kinds[needs(name).kinds[0]]
        schema, rows = data.schema, first_rows(data.train.inputs, NUM_ROWS)
        if needs(name).kinds == HISTORY and name != "two_tower":
            (history,) = schema.sequence_features
            schema = schema.replace(features=[schema.id_features[0], replace(history, max_length=2)])
            rows = {"ids": rows["ids"][:, :1], "hist_id_0": rows["hist_id_0"][:, :2]}
        settings = {**needs(name).settings, "hidden": (8,), **OF_EVERY_LAYER[name]}
        known = known_hyperparameters(name)
        model = build_model(name, schema, **{key: value for key, value in settings.items() if key in known})
        spread(model)
        return model, rows

    return of


LOAD = """
import gc
import sys
from pathlib import Path
import tfshop.layers
from tfshop._keras import keras, tf
import numpy as np
gc.disable()
for path in Path(sys.argv[1]).glob("*.keras"):
    model = keras.models.load_model(path, compile=False)
    rows = dict(np.load(path.with_name(f"{path.stem}_rows.npz")))
    outputs = tf.nest.flatten(model(rows, training=False))
    scores = {name: output.numpy() for name, output in zip(model.output_names, outputs)}
    np.savez(path.with_name(f"{path.stem}_scores.npz"), **scores)
"""


@each_network
def test_a_keras_file_loads_in_a_fresh_process(name: str, loaded_elsewhere: Path, scored: Scored) -> None:
    scores = np.load(loaded_elsewhere / f"{name}_scores.npz")
    for output, expected in scored(name, richest(name)).items():
        np.testing.assert_allclose(scores[output].reshape(-1), expected[:NUM_ROWS], atol=1e-6)


def test_the_saved_models_have_every_layer(built: Built, small: Callable[[str], tuple[Any, Rows]]) -> None:
    def layers_of(models: Any) -> set[type]:
        return {type(layer) for model in models for layer in model._flatten_layers()}

    every = layers_of(built(name, needs(name).kinds[0]) for name in MODELS)
    assert every == layers_of(small(name)[0] for name in OF_EVERY_LAYER)


@pytest.mark.parametrize("name", OF_EVERY_LAYER)
def test_a_saved_model_loads_without_custom_objects(
    name: str, small: Callable[[str], tuple[Any, Rows]], tmp_path: Path
) -> None:
    model, rows = small(name)
    model.save(tmp_path / "saved", save_format="tf")
    loaded = keras.models.load_model(tmp_path / "saved", compile=False)
    assert [type(layer) for layer in loaded.layers] == [type(layer) for layer in model.layers]
    found = keras_outputs(loaded, rows)
    for output, expected in keras_outputs(model, rows).items():
        np.testing.assert_allclose(found[output], expected, atol=1e-6)
