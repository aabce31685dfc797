"""What is particular to the networks of several targets; what every network has to do is in test_conformance.py."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from helpers import first_rows, same_weights

from tfshop._keras import keras, tf
from tfshop.data import Splits
from tfshop.errors import ModelError
from tfshop.export import Export
from tfshop.models import MODELS, build_model
from tfshop.runtime import Scorer, read_graph
from tfshop.training import LazyAdam, predict

TINY: dict[str, dict[str, Any]] = {
    "shared_bottom": {"dimension": 4, "hidden": (16,), "heads": (8,)},
    "esmm": {"dimension": 4, "hidden": (16, 8)},
    "mmoe": {"dimension": 4, "num_experts": 3, "hidden": (8,), "heads": (4,)},
    "ple": {"dimension": 4, "num_levels": 2, "hidden": (8,), "heads": (4,)},
}
OUTPUTS = ["probability_clicked", "probability_bought"]

each_network = pytest.mark.parametrize("name", TINY)


@each_network
def test_there_is_a_named_output_a_target(name: str, two_targets: Splits) -> None:
    model = build_model(name, two_targets.schema, **TINY[name])
    assert model.name == name and model.output_names == OUTPUTS
    rows = first_rows(two_targets.train.inputs, 9)
    probabilities = model(rows)
    assert [part.shape for part in probabilities] == [(9, 1), (9, 1)]
    logits = keras.Model(model.input, model.get_layer("logit_clicked").output)(rows).numpy()
    np.testing.assert_allclose(probabilities[0], 1 / (1 + np.exp(-logits)), rtol=1e-5)


@each_network
def test_one_step_lowers_the_loss_of_both_and_reaches_every_weight(name: str, two_targets: Splits) -> None:
    model = build_model(name, two_targets.schema, **TINY[name])
    rows, labels = first_rows(two_targets.train.inputs, 512), two_targets.train.labels[:512]

    def losses() -> list[Any]:
        outputs = model(rows, training=True)
        entropy = keras.losses.binary_crossentropy
        return [tf.reduce_mean(entropy(labels[:, column, None], output)) for column, output in enumerate(outputs)]

    with tf.GradientTape() as tape:
        before = losses()
        total = tf.add_n(before)
    gradients = tape.gradient(total, model.trainable_weights)
    pairs = list(zip(gradients, model.trainable_weights, strict=True))
    assert [w.name for g, w in pairs if g is None or not np.any(tf.convert_to_tensor(g).numpy())] == []
    LazyAdam(3e-3).apply_gradients(pairs)
    assert all(float(after) < float(was) for after, was in zip(losses(), before, strict=True))


@each_network
@pytest.mark.parametrize(("mode", "gap"), [("float32", 1e-5), ("int8", 0.05)])
def test_the_file_scores_as_keras_does_at_any_batch(name: str, mode: str, gap: float, two_targets: Splits) -> None:
    model = build_model(name, two_targets.schema, **TINY[name])
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, 0.3, weight.shape) for weight in model.get_weights()])
    content = Export(mode, calibration_rows=256).to_bytes(model, two_targets)
    graph = read_graph(content)
    assert graph.custom_operators == () and set(graph.outputs) == set(OUTPUTS)
    assert sum(graph.kinds.values()) <= 150
    scorer = Scorer(content, schema=two_targets.schema)
    expected = predict(model, two_targets.test)
    for batch in (1, 7, 512):
        found = scorer(first_rows(two_targets.test.inputs, batch))
        for column, output in enumerate(OUTPUTS):
            np.testing.assert_allclose(found[output], expected[:batch, column], atol=gap)
    assert np.ptp(expected, axis=0).min() > 2 * gap, "scores that hardly differ show nothing"


@each_network
def test_the_same_seed_gives_the_same_weights_and_dropout_is_felt_in_training_alone(
    name: str, two_targets: Splits
) -> None:
    one, again, other = (build_model(name, two_targets.schema, seed=s, dropout=0.5, **TINY[name]) for s in (1, 1, 2))
    assert same_weights(one, again) and not same_weights(one, other)
    rows = first_rows(two_targets.train.inputs, 64)
    calm, still, noisy = ([part.numpy() for part in one(rows, training=flag)] for flag in (False, False, True))
    assert same_weights(calm, still) and not same_weights(calm, noisy)


@each_network
def test_one_target_is_refused_with_the_remedy(name: str, clicks: Splits) -> None:
    with pytest.raises(ModelError, match=rf"{name} learns several targets.*has one, 'clicked'.*Fix: Schema\("):
        build_model(name, clicks.schema)


@pytest.mark.parametrize("name", sorted(set(MODELS) - set(TINY)))
def test_networks_of_one_target_refuse_several_with_the_remedy(name: str, two_targets: Splits) -> None:
    with pytest.raises(ModelError, match=r"2 targets \(clicked, bought\).*learns one.*Fix: build_model\('mmoe'"):
        build_model(name, two_targets.schema)


def test_a_purchase_is_a_click_and_a_purchase_of_it(two_targets: Splits) -> None:
    """ESMM's whole idea: the second output is a product with the first."""
    model = build_model("esmm", two_targets.schema, **TINY["esmm"])
    of_clicks = keras.Model(model.input, model.get_layer("probability_bought_of_clicked").output)
    rows = first_rows(two_targets.train.inputs, 30)
    clicked, bought = (part.numpy() for part in model(rows))
    np.testing.assert_allclose(bought, clicked * of_clicks(rows).numpy(), rtol=1e-6)
    assert (bought < clicked).all()


def test_a_click_and_a_purchase_are_all_that_esmm_takes(two_targets: Splits) -> None:
    three = two_targets.schema.replace(target=("clicked", "bought", "returned"))
    with pytest.raises(ModelError, match=r"esmm learns a click and a conversion.*3 targets: clicked, bought, returned"):
        build_model("esmm", three)
    assert build_model("shared_bottom", three, **TINY["shared_bottom"]).output_names == [
        *OUTPUTS,
        "probability_returned",
    ]


def test_each_target_of_mmoe_mixes_the_same_experts_by_a_gate_of_its_own(two_targets: Splits) -> None:
    model = build_model("mmoe", two_targets.schema, **TINY["mmoe"])
    rows = first_rows(two_targets.train.inputs, 20)
    names = ["experts_clicked", "gate_clicked_softmax", "gate_bought_softmax", "mixture_clicked", "mixture_bought"]
    experts, *rest = keras.Model(model.input, [model.get_layer(name).output for name in names])(rows)
    stacked = experts.numpy().reshape(20, 3, 8)
    for gate, mixture in zip(rest[:2], rest[2:], strict=True):
        np.testing.assert_allclose(gate.numpy().sum(axis=1), 1, rtol=1e-5)
        np.testing.assert_allclose(mixture, np.einsum("be,bew->bw", gate, stacked), atol=1e-6)
    assert not np.allclose(rest[0], rest[1])


def test_a_target_of_ple_reads_its_own_experts_and_shared_ones_alone(two_targets: Splits) -> None:
    """Of one level: the other target's experts change nothing; of two they do, through what is shared."""
    rows = first_rows(two_targets.train.inputs, 20)
    for levels, moves in ((1, False), (2, True)):
        model = build_model("ple", two_targets.schema, **{**TINY["ple"], "num_levels": levels})
        before = [part.numpy() for part in model(rows)]
        for layer in model.layers:
            if re.match(r"level_0_for_bought_\d_dense", layer.name):
                layer.set_weights([weight + 0.5 for weight in layer.get_weights()])
        after = [part.numpy() for part in model(rows)]
        assert not np.allclose(before[1], after[1])
        assert np.allclose(before[0], after[0], atol=1e-7) is not moves


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("mmoe", {"num_experts": 0}, "num_experts is 0"),
        ("ple", {"num_levels": 0}, "num_levels is 0"),
        ("ple", {"own_experts": True}, "own_experts is True"),
        ("shared_bottom", {"heads": (0,)}, r"\(0,\)"),
    ],
)
def test_hyperparameters_out_of_range_are_refused(
    name: str, settings: dict[str, Any], message: str, two_targets: Splits
) -> None:
    with pytest.raises(ModelError, match=rf"{message}.*Expected.*Fix:"):
        build_model(name, two_targets.schema, **settings)


def test_layers_take_their_names_from_targets_that_no_layer_could_have(two_targets: Splits) -> None:
    """Spaces and umlauts in the columns' names."""
    odd = two_targets.schema.replace(target=("hat geklickt", "kaufte!"))
    for name, settings in TINY.items():
        assert build_model(name, odd, **settings).output_names == ["probability_hat_geklickt", "probability_kaufte_"]
