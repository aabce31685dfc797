"""What every network looks like from outside, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import first_rows, same_weights
from networks import NEEDS, keras_outputs, needs, outputs_by_name

from models.conformance.shared import Built, Scored, build, each_network, richest
from tfshop._keras import keras, tf
from tfshop.data import Splits
from tfshop.errors import ModelError
from tfshop.models import MODELS, known_hyperparameters


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
def test_every_input_moves_the_score(name: str, built: Built, scored: Scored, kinds: dict[str, Splits]) -> None:
    model = built(name, richest(name))
    rows = first_rows(kinds[richest(name)].train.inputs, 64)
    before = {output: scores[:64] for output, scores in scored(name, richest(name)).items()}
    unmoved = [
        (input_name, output)
        for input_name, values in rows.items()
        for output, scores in keras_outputs(model, {**rows, input_name: values[::-1]}).items()
        if np.allclose(scores, before[output], atol=1e-4)
    ]
    assert unmoved == []


@pytest.mark.parametrize("name", [name for name in MODELS if "dropout" in known_hyperparameters(name)])
def test_dropout_is_felt_in_training_alone(name: str, built: Built, kinds: dict[str, Splits]) -> None:
    model, rows = built(name, richest(name)), first_rows(kinds[richest(name)].train.inputs, 64)
    weights = model.get_weights()
    (calm, again, noisy) = (
        [output.numpy() for output in outputs_by_name(model, rows, training=training).values()]
        for training in (False, False, True)
    )
    model.set_weights(weights)  # training moves the statistics of Dice, and other tests have this model too
    assert same_weights(calm, again) and not same_weights(calm, noisy)
