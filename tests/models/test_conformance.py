"""What every network in `MODELS` has to do, whatever features it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import first_rows, keras_scores, same_weights

from tfshop._keras import keras, tf
from tfshop.data import Splits
from tfshop.export import convert
from tfshop.models import MODELS, build_model
from tfshop.runtime import Scorer, read_graph
from tfshop.training import LazyAdam

KINDS = ("ids", "numerics", "every kind")
TINY = {"dimension": 4, "hidden": (16, 8)}

each_network = pytest.mark.parametrize("name", MODELS)


@each_network
def test_the_outside_is_that_of_the_contract(name: str, clicks: Splits) -> None:
    model = build_model(name, clicks.schema, **TINY)
    specs = clicks.schema.input_specs()
    assert model.name == name
    assert {t.name: (tuple(t.shape[1:]), t.dtype.name) for t in model.inputs} == {
        input_name: (spec.shape, spec.dtype) for input_name, spec in specs.items()
    }
    assert model.output_names == ["probability"]
    assert model.output.shape.as_list() == [None, 1] and model.output.dtype == tf.float32
    rows = first_rows(clicks.train.inputs, 9)
    logits = keras.Model(model.inputs, model.get_layer("logit").output)(rows).numpy()
    np.testing.assert_allclose(model(rows), 1 / (1 + np.exp(-logits)), rtol=1e-5)


@each_network
@pytest.mark.parametrize("form", ["model.keras", "saved_model"])
def test_a_saved_network_loads_without_custom_objects(
    name: str, form: str, trained: Callable, clicks: Splits, tmp_path
) -> None:
    model = trained(name)
    model.save(tmp_path / form, save_format="keras" if form.endswith(".keras") else "tf")
    loaded = keras.models.load_model(tmp_path / form)
    rows = first_rows(clicks.validation.inputs, 50)
    np.testing.assert_allclose(keras_scores(loaded, rows), keras_scores(model, rows), atol=1e-6)
    assert type(loaded.get_layer("table_rows")).__name__ == "FieldOffsets"


@each_network
@pytest.mark.parametrize("kind", KINDS)
def test_the_float32_file_has_builtin_operators_and_the_scores_of_keras(
    name: str, kind: str, kinds: dict[str, Splits]
) -> None:
    """At batch 1, 7 and 512, holes in the numerics included."""
    data = kinds[kind]
    model = build_model(name, data.schema, **TINY)
    spread(model)
    content = convert(model, "float32")
    graph = read_graph(content)
    assert graph.custom_operators == () and graph.kinds["FULLY_CONNECTED"] >= 2
    assert set(graph.inputs) == set(data.schema.input_specs()) and list(graph.outputs) == ["probability"]
    scorer = Scorer(content)
    for batch in (1, 7, 512):
        rows = first_rows(data.train.inputs, batch)
        expected = keras_scores(model, rows)
        np.testing.assert_allclose(scorer(rows), expected, atol=1e-5)
    assert len(np.unique(expected)) > 300 and np.isfinite(expected).all()
    if "numeric" in graph.inputs:
        assert np.isnan(rows["numeric"]).any()


@each_network
def test_the_gradient_reaches_every_weight(name: str, kinds: dict[str, Splits]) -> None:
    data = kinds["every kind"]
    model = build_model(name, data.schema, **TINY)
    rows, labels = first_rows(data.train.inputs, 512), data.train.labels[:512, None]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(keras.losses.binary_crossentropy(labels, model(rows, training=True)))
    gradients = tape.gradient(loss, model.trainable_weights)
    dead = [
        weight.name
        for weight, gradient in zip(model.trainable_weights, gradients, strict=True)
        if gradient is None or not np.any(tf.convert_to_tensor(gradient).numpy())
    ]
    assert dead == []


@each_network
def test_every_input_moves_the_score(name: str, kinds: dict[str, Splits]) -> None:
    data = kinds["every kind"]
    model = build_model(name, data.schema, **TINY)
    spread(model)
    rows = first_rows(data.train.inputs, 64)
    before = keras_scores(model, rows)
    unmoved = [
        input_name
        for input_name, values in rows.items()
        if np.allclose(keras_scores(model, {**rows, input_name: values[::-1]}), before, atol=1e-4)
    ]
    assert unmoved == []


@each_network
def test_one_training_step_lowers_the_loss(name: str, clicks: Splits) -> None:
    model = build_model(name, clicks.schema, **TINY)
    model.compile(LazyAdam(1e-3), "binary_crossentropy")
    rows, labels = first_rows(clicks.train.inputs, 512), clicks.train.labels[:512, None]
    before = model.train_on_batch(rows, labels)
    assert model.test_on_batch(rows, labels) < before - 1e-4


@each_network
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(name: str, clicks: Splits) -> None:
    first, again, other = (build_model(name, clicks.schema, seed=seed, **TINY) for seed in (1, 1, 2))
    assert same_weights(first, again)
    assert not same_weights(first, other)


@each_network
def test_dropout_is_felt_in_training_alone(name: str, clicks: Splits) -> None:
    model = build_model(name, clicks.schema, dropout=0.5, **TINY)
    rows = first_rows(clicks.train.inputs, 64)
    assert np.array_equal(model(rows, training=False), model(rows, training=False))
    assert not np.array_equal(model(rows, training=True), model(rows, training=True))


def spread(model: Any) -> None:
    """Weights large enough for scores to differ: fresh ones give 0.5 to every row."""
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, 0.4, weight.shape) for weight in model.get_weights()])
