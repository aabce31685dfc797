"""What every network in `MODELS` has to do, whatever features it is given.

A new network is tested by its row in `MODELS`; where it needs other features, hyperparameters or outputs than most, it
has a row in `networks.NEEDS` too.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import first_rows, same_weights
from networks import NEEDS, batch_of, file_outputs, keras_outputs, needs, outputs_by_name, pointwise, spread

from tfshop._keras import keras, tf
from tfshop.data import Splits
from tfshop.data.datasets.synthetic import synthetic
from tfshop.errors import ModelError
from tfshop.export import Export, convert
from tfshop.models import MODELS, build_model, known_hyperparameters
from tfshop.runtime import Scorer, read_graph
from tfshop.training import LazyAdam

NUM_IDS = 26
MOST_OPERATORS = 150
Built = Callable[[str, str], Any]
Files = Callable[[str, str], bytes]

each_network = pytest.mark.parametrize("name", MODELS)
each_network_and_kind = pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name in MODELS for kind in needs(name).kinds if kind != "numerics"]
)


@dataclass
class Step:
    """One step of training on one batch: the weights it began with, the loss before and after, and the gradients."""

    initial: list[np.ndarray]
    before: float
    after: float
    gradients: dict[str, np.ndarray | None]


def build(name: str, data: Splits, **settings: Any) -> Any:
    return build_model(name, data.schema, **{**needs(name).settings, **settings})


def richest(name: str) -> str:
    return needs(name).kinds[-1]


@pytest.fixture(scope="module")
def kinds(kinds: dict[str, Splits]) -> dict[str, Splits]:
    """The shared schemas, with 26 ids instead of three: as many as a loop over pairs would choke on."""
    ids = synthetic(1000, num_id_features=NUM_IDS, rows_per_feature=20, num_numeric=0, batch_size=256, seed=3)
    return {**kinds, "ids": ids}


@pytest.fixture(scope="module")
def built(kinds: dict[str, Splits]) -> Built:
    """Each network once a schema, with dropout, and with weights large enough for scores to differ."""

    @cache
    def of(name: str, kind: str) -> Any:
        dropout = {"dropout": 0.5} if "dropout" in known_hyperparameters(name) else {}
        model = build(name, kinds[kind], **dropout)
        spread(model)
        return model

    return of


@pytest.fixture(scope="module")
def file(built: Built) -> Files:
    """Its float32 file."""
    return cache(lambda name, kind: convert(built(name, kind), "float32"))


@pytest.fixture(scope="module")
def step(kinds: dict[str, Splits]) -> Callable[[str], Step]:
    """One step of the house's optimizer from fresh weights."""

    @cache
    def of(name: str) -> Step:
        data = kinds[richest(name)]
        model = build(name, data)
        initial = model.get_weights()
        rows, labels = batch_of(data, name, 512)
        with tf.GradientTape() as tape:
            loss = loss_of(outputs_by_name(model, rows, training=True), labels)
        gradients = tape.gradient(loss, model.trainable_weights)
        LazyAdam(1e-2).apply_gradients(
            (gradient, weight)
            for gradient, weight in zip(gradients, model.trainable_weights, strict=True)
            if gradient is not None
        )
        after = loss_of(outputs_by_name(model, rows), labels)
        found = {
            weight.name: None if gradient is None else tf.convert_to_tensor(gradient).numpy()
            for weight, gradient in zip(model.trainable_weights, gradients, strict=True)
        }
        return Step(initial, float(loss), float(after), found)

    return of


def loss_of(outputs: dict[str, Any], labels: dict[str, np.ndarray]) -> Any:
    losses = [tf.reduce_mean(keras.losses.binary_crossentropy(labels[name], outputs[name])) for name in labels]
    return tf.add_n(losses)


def test_every_row_of_the_needs_is_a_network() -> None:
    assert set(NEEDS) <= set(MODELS)
    assert all(needs(name).kinds for name in MODELS)


@each_network
def test_the_outside_is_that_of_the_contract(name: str, built: Built, kinds: dict[str, Splits]) -> None:
    model, data = built(name, richest(name)), kinds[richest(name)]
    assert model.name == name
    assert {t.name: (tuple(t.shape[1:]), t.dtype.name) for t in model.inputs} == {
        input_name: (spec.shape, spec.dtype) for input_name, spec in data.schema.input_specs().items()
    }
    assert tuple(model.output_names) == needs(name).outputs
    outputs = tf.nest.flatten(model.output)
    assert [(output.shape.as_list(), output.dtype) for output in outputs] == [([None, 1], tf.float32)] * len(outputs)


@pytest.mark.parametrize("name", [name for name in MODELS if needs(name).outputs == ("probability",)])
def test_the_probability_is_the_sigmoid_of_the_logit(name: str, built: Built, kinds: dict[str, Splits]) -> None:
    """Distillation and calibration read the layer of this name."""
    model = built(name, richest(name))
    rows = first_rows(kinds[richest(name)].train.inputs, 9)
    logits = keras.Model(model.inputs, model.get_layer("logit").output)(rows).numpy()
    np.testing.assert_allclose(model(rows), 1 / (1 + np.exp(-logits)), rtol=1e-5)


@pytest.fixture(scope="module")
def loaded_elsewhere(built: Built, kinds: dict[str, Splits], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores of all networks, loaded from `.keras` files by one fresh process that imports the layers alone."""
    folder = tmp_path_factory.mktemp("saved")
    for name in MODELS:
        built(name, richest(name)).save(folder / f"{name}.keras")
        np.savez(folder / f"{name}_rows.npz", **first_rows(kinds[richest(name)].train.inputs, 50))
    subprocess.run([sys.executable, "-c", LOAD, str(folder)], check=True)
    return folder


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


@each_network
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


@each_network_and_kind
def test_the_float32_file_has_builtin_operators_and_the_scores_of_keras(
    name: str, kind: str, built: Built, file: Files, kinds: dict[str, Splits]
) -> None:
    """At batch 1, 7 and 512, in one interpreter and in one for each, holes in the numerics included."""
    content, data = file(name, kind), kinds[kind]
    graph = read_graph(content)
    assert graph.custom_operators == ()
    assert set(graph.inputs) == set(data.schema.input_specs()) and set(graph.outputs) == set(needs(name).outputs)
    shared = Scorer(content)
    for batch in (1, 7, 512):
        rows = first_rows(data.train.inputs, batch)
        for output, expected in keras_outputs(built(name, kind), rows).items():
            assert np.abs(file_outputs(shared, rows)[output] - expected).max() <= 1e-5
            assert np.abs(file_outputs(Scorer(content, batch_size=batch), rows)[output] - expected).max() <= 1e-5
            assert batch < 512 or (len(np.unique(expected)) > 300 and np.isfinite(expected).all())
    assert "numeric" not in rows or np.isnan(rows["numeric"]).any()


@pytest.mark.parametrize("name", pointwise())
def test_a_file_of_26_ids_has_few_operators(name: str, file: Files) -> None:
    assert len(read_graph(file(name, "ids")).all_operators) <= MOST_OPERATORS


@each_network
def test_the_int8_file_keeps_the_order_of_the_scores(name: str, built: Built, kinds: dict[str, Splits]) -> None:
    """Of weights that were never trained, on the hardest features: that it is no coin toss, not how good it is."""
    data, model = kinds[richest(name)], built(name, richest(name))
    content = Export("int8", calibration_rows=64).to_bytes(model, data)
    graph = read_graph(content)
    assert graph.custom_operators == () and any(tensor.dtype == "int8" for tensor in graph.tensors)
    scorer = Scorer(content)
    for batch in (1, 7, 512):
        rows = first_rows(data.train.inputs, batch)
        scores = file_outputs(scorer, rows)
    for output, expected in keras_outputs(model, rows).items():
        assert np.corrcoef(scores[output], expected)[0, 1] > 0.9


@pytest.mark.parametrize("name", [name for name in MODELS if "numerics" in needs(name).kinds])
def test_numbers_alone_are_scored(name: str, built: Built, kinds: dict[str, Splits]) -> None:
    rows = first_rows(kinds["numerics"].train.inputs, 20)
    for scores in keras_outputs(built(name, "numerics"), rows).values():
        assert np.isfinite(scores).all() and len(np.unique(scores)) > 5


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in MODELS for kind in needs(name).refused])
def test_features_it_cannot_do_without_are_asked_for(name: str, kind: str, kinds: dict[str, Splits]) -> None:
    with pytest.raises(ModelError, match=rf"(?s){name}.*Expected.*Fix:"):
        build(name, kinds[kind])


@each_network
def test_the_gradient_reaches_every_weight(name: str, step: Callable[[str], Step]) -> None:
    gradients = step(name).gradients
    assert gradients
    assert [weight for weight, gradient in gradients.items() if gradient is None or not np.any(gradient)] == []
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())


@each_network
def test_one_training_step_lowers_the_loss(name: str, step: Callable[[str], Step]) -> None:
    assert step(name).after < step(name).before - 1e-3


@each_network
def test_every_input_moves_the_score(name: str, built: Built, kinds: dict[str, Splits]) -> None:
    model = built(name, richest(name))
    rows = first_rows(kinds[richest(name)].train.inputs, 64)
    before = keras_outputs(model, rows)
    unmoved = [
        (input_name, output)
        for input_name, values in rows.items()
        for output, scores in keras_outputs(model, {**rows, input_name: values[::-1]}).items()
        if np.allclose(scores, before[output], atol=1e-4)
    ]
    assert unmoved == []


@each_network
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    name: str, step: Callable[[str], Step], kinds: dict[str, Splits]
) -> None:
    again, other = (build(name, kinds[richest(name)], seed=seed) for seed in (0, 1))
    assert same_weights(step(name).initial, again.get_weights())
    assert not same_weights(again, other)


@pytest.mark.parametrize("name", [name for name in MODELS if "dropout" in known_hyperparameters(name)])
def test_dropout_is_felt_in_training_alone(name: str, built: Built, kinds: dict[str, Splits]) -> None:
    model, rows = built(name, richest(name)), first_rows(kinds[richest(name)].train.inputs, 64)
    (calm, again, noisy) = (
        [output.numpy() for output in outputs_by_name(model, rows, training=training).values()]
        for training in (False, False, True)
    )
    assert same_weights(calm, again) and not same_weights(calm, noisy)
