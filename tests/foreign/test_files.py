"""Networks come in from files, with layers of their own, and nothing runs that nobody named."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import keras_scores, same_weights

import tfshop as ts
from tfshop._keras import keras
from tfshop.data.binding import bind
from tfshop.errors import ModelError
from tfshop.training.inputs import model_specs

from .checks import AT_ONCE, check_exports, check_passes
from .keras3 import build
from .styles import Unregistered, soft_relu

OBJECTS = {"Unregistered": Unregistered, "soft_relu": soft_relu}
KINDS = {"keras": "net.keras", "h5": "net.h5", "saved model": "net"}


@pytest.fixture(scope="module")
def saved(network, tmp_path_factory):
    """The network with layers of its own, in each kind of file."""
    folder = tmp_path_factory.mktemp("files")
    for name in KINDS.values():
        network("custom_layers").save(folder / name, save_format=None if "." in name else "tf")
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_gives_the_network_with_layers_of_its_own(kind, saved, network, log):
    model = ts.load_model(saved / KINDS[kind], OBJECTS)
    rows = bind(log.test.inputs, log.schema, model_specs(model))
    np.testing.assert_allclose(keras_scores(model, rows), keras_scores(network("custom_layers"), rows), atol=1e-6)
    assert type(model.get_layer("unregistered")) is Unregistered


@pytest.mark.parametrize("kind", ["keras", "h5"])
def test_a_layer_that_nobody_named_is_an_error_that_says_how(kind, saved):
    """Keras would import the module that the file names: the class can be had, but nobody asked for it."""
    with pytest.raises(ModelError, match=r"made of Unregistered, which.*custom_objects={'Unregistered': Unregistered}"):
        ts.load_model(saved / KINDS[kind], {"soft_relu": soft_relu})
    with pytest.raises(ModelError, match="made of Unregistered, soft_relu"):
        ts.load_model(saved / KINDS[kind])


@pytest.mark.parametrize(
    ("style", "kind"),
    [
        ("with_tf_ops", "keras"),
        ("with_tf_ops", "h5"),
        ("nested", "keras"),
        ("nested", "saved model"),
        ("attention", "h5"),
        ("preprocessed", "keras"),
        ("normalized", "saved model"),
        ("sequential", "h5"),
    ],
)
def test_stock_layers_and_operators_need_no_names(style, kind, network, log, tmp_path):
    model = network(style)
    model.save(tmp_path / KINDS[kind], save_format=None if "." in KINDS[kind] else "tf")
    rows = bind(log.test.inputs, log.schema, model_specs(model))
    found = ts.load_model(tmp_path / KINDS[kind])
    np.testing.assert_allclose(keras_scores(found, rows), keras_scores(model, rows), atol=1e-6)


def test_a_network_from_a_saved_model_goes_through_passes_and_exporters(saved, log):
    model = ts.load_model(saved / KINDS["saved model"], OBJECTS)
    check_passes(model, log, ("first", "second"), prune=AT_ONCE)
    check_exports(model, log, ("float32", "dynamic"))


def test_a_saved_model_without_its_classes_is_exported_or_refused_before_training(saved, log):
    """Keras revives a layer it does not know from its traced functions: they score, but cannot be built anew."""
    model = ts.load_model(saved / KINDS["saved model"])
    with pytest.raises(
        ts.TfshopError, match=r"(cannot be copied|scores differently|other weights)(?s:.*)custom_objects"
    ):
        ts.Prune(0.5).check(model, log.schema)
    content = ts.Export("float32").to_bytes(model, log)
    np.testing.assert_allclose(
        ts.Scorer(content, schema=log.schema).score_split(log.test),
        keras_scores(model, bind(log.test.inputs, log.schema, model_specs(model))),
        atol=1e-5,
    )


@pytest.mark.parametrize("name", KINDS.values())
def test_bytecode_in_a_file_is_run_only_where_it_is_trusted(name, network, tmp_path):
    place = tmp_path / name
    network("with_lambda").save(place, save_format=None if "." in name else "tf")
    with pytest.raises(ModelError, match=r"Lambda layer as Python bytecode.*trust_lambdas=True"):
        ts.load_model(place)
    if name != "net.h5":  # the old format drops what a closure holds
        assert same_weights(ts.load_model(place, trust_lambdas=True), network("with_lambda"))


def test_bytecode_of_an_old_file_is_run_where_it_is_trusted(log, tmp_path):
    """Without a closure, which the old format drops."""
    ids = keras.Input((len(log.schema.id_columns),), dtype="int32", name="ids")
    table = keras.layers.Embedding(sum(log.schema.tables.values()), 4)(ids)
    doubled = keras.layers.Lambda(lambda values: values * 2.0)(keras.layers.Flatten()(table))
    model = keras.Model(ids, keras.layers.Dense(1, activation="sigmoid")(doubled))
    model.save(tmp_path / "net.h5")
    loaded = ts.load_model(tmp_path / "net.h5", trust_lambdas=True)
    rows = log.test.inputs["ids"][:20]
    np.testing.assert_allclose(loaded(rows), model(rows), atol=1e-6)


def test_a_file_of_weights_alone_is_told_apart(network, tmp_path):
    network("plain").save_weights(tmp_path / "net.h5")
    with pytest.raises(ModelError, match="weights alone, without their network"):
        ts.load_model(tmp_path / "net.h5")


@pytest.mark.parametrize(("name", "content"), [("gone.keras", None), ("no.h5", b"text"), ("no.keras", b"text")])
def test_what_is_no_model_is_an_error(name, content, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=r"Expected a \.keras or \.h5 file, or a SavedModel"):
        ts.load_model(tmp_path / name)


@pytest.mark.parametrize("name", ["net.keras", "net.weights.h5"])
def test_weights_of_keras_3_give_the_scores_of_keras_3(name, keras_3):
    model = ts.weights_from_keras3(keras_3.folder / name, build(keras))
    rows = dict(np.load(keras_3.folder / "rows.npz"))
    np.testing.assert_allclose(keras_scores(model, rows), np.load(keras_3.folder / "scores.npy").ravel(), atol=1e-5)


def test_names_win_over_order_and_order_serves_where_keras_made_names_up(keras_3):
    model = ts.weights_from_keras3(keras_3.folder / "net.keras", build(keras, tower_name="other", first="renamed"))
    rows = dict(np.load(keras_3.folder / "rows.npz"))
    np.testing.assert_allclose(keras_scores(model, rows), np.load(keras_3.folder / "scores.npy").ravel(), atol=1e-5)


def test_weights_of_another_shape_change_nothing(keras_3):
    model = build(keras, width=7)
    before = model.get_weights()
    with pytest.raises(ModelError, match=r"'tower/first' has \[\(7, 7\), \(7,\)\], the source .*\(7, 6\)"):
        ts.weights_from_keras3(keras_3.folder / "net.keras", model)
    assert same_weights(before, model)


def test_weights_that_no_layer_takes_are_an_error():
    x = keras.Input((2,))
    model = keras.Model(x, keras.layers.Dense(1, name="click")(x))
    given = {"click": [np.ones((2, 1)), np.ones(1)], "deep": [np.ones((3, 3))]}
    with pytest.raises(ModelError, match=r"no layer takes 'deep' \[\(3, 3\)\]"):
        ts.weights_from_keras3(given, model)


@pytest.mark.parametrize("name", ["net.keras", "net.h5"])
def test_a_file_of_keras_3_is_told_the_way_over(name, keras_3):
    with pytest.raises(ModelError, match=r"written by Keras 3.*weights_from_keras3"):
        ts.load_model(keras_3.folder / name)
