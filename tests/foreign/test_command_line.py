"""`tfshop compress --model FILE`: the network of somebody else's, with the ids it was trained with."""

from __future__ import annotations

import json

import pytest
from helpers import exit_code

from tfshop.cli.task import custom_objects
from tfshop.errors import ModelError

from .conftest import click_table

pytestmark = pytest.mark.usefixtures("one_picture")

LAYERS = """
import pathlib
import tf_keras as keras

pathlib.Path(__file__).with_suffix(".imported").touch()


class Double(keras.layers.Layer):
    def call(self, inputs):
        return inputs * 2.0
"""


@pytest.fixture(scope="module")
def folder(network, log, tmp_path_factory):
    place = tmp_path_factory.mktemp("cli")
    click_table().to_csv(place / "log.csv", index=False)
    (place / "schema.json").write_text(log.schema.to_json(), encoding="utf-8")
    (place / "double.py").write_text(LAYERS, encoding="utf-8")
    network("plain").save(place / "plain.h5")
    return place


def run(folder, model, *options):
    """The exit code of `tfshop compress`, and what it leaves under out/."""
    arguments = ["compress", str(folder / "log.csv"), "--target", "clicked", "--model", str(folder / model), *options]
    places = ["--out", str(folder / "out"), "--report", str(folder / "report")]
    return exit_code([*arguments, *places, "--plan", "float16", "--json"])


def with_double(network, log):
    """The plain network with a layer that only double.py has."""
    from tfshop._keras import keras

    class Double(keras.layers.Layer):
        def call(self, inputs):
            return inputs * 2.0

    plain = network("plain")
    hidden = Double(name="double")(plain.get_layer("second").output)
    return keras.Model(plain.inputs, keras.layers.Dense(1, activation="sigmoid")(hidden))


def test_a_trained_network_is_compressed_with_its_own_ids(folder, log, baseline, capsys):
    assert run(folder, "plain.h5", "--schema", str(folder / "schema.json")) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["left_alone"] == []
    files = {name: numbers["test"]["auc"] for name, numbers in told["files"].items()}
    assert files["float32"] == pytest.approx(baseline("plain").evaluation.test.auc, abs=1e-6)


def test_without_the_schema_of_its_training_it_is_refused(folder, capsys):
    assert run(folder, "plain.h5") == 2
    assert "Fix: --schema schema.json" in capsys.readouterr().err


def test_it_can_be_trained_on_the_table_first(folder, capsys):
    assert run(folder, "plain.h5", "--fit", "--epochs", "1", "--exclude", "price") == 0
    assert "training" in capsys.readouterr().err


def test_a_file_of_layers_is_imported_only_where_it_is_named(folder, network, log, capsys):
    with_double(network, log).save(folder / "double.keras")
    given = ("--schema", str(folder / "schema.json"))
    assert run(folder, "double.keras", *given) == 2
    assert "made of Double" in capsys.readouterr().err and not (folder / "double.imported").exists()
    assert run(folder, "double.keras", *given, "--custom-objects", f"{folder / 'double.py'}:Double") == 0
    assert (folder / "double.imported").exists()


@pytest.mark.parametrize("text", ["Double", "no.such.module:Double", "json:Double", "gone.py:Double"])
def test_what_cannot_be_imported_is_an_error(text):
    with pytest.raises(ModelError, match=r"--custom-objects has .*Fix: --custom-objects layers\.py:Cross"):
        custom_objects(text)


def test_names_are_taken_from_modules_and_files(folder):
    found = custom_objects(f"json:loads, {folder / 'double.py'}:Double")
    assert found["loads"] is json.loads and found["Double"].__name__ == "Double"


def test_a_model_that_is_neither_a_name_nor_a_file_is_refused(folder, capsys):
    assert run(folder, "gone.keras") == 2
    assert "no network and no file is called" in capsys.readouterr().err
