"""What is particular to the networks of several targets; what every network has to do is in conformance."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from helpers import first_rows
from networks import needs

from tfshop._keras import keras
from tfshop.data import Splits
from tfshop.errors import ModelError
from tfshop.models import MODELS, SEVERAL_TARGETS, build_model

TINY: dict[str, dict[str, Any]] = {
    "shared_bottom": {"dimension": 4, "hidden": (16,), "heads": (8,)},
    "esmm": {"dimension": 4, "hidden": (16, 8)},
    "mmoe": {"dimension": 4, "num_experts": 3, "hidden": (8,), "heads": (4,)},
    "ple": {"dimension": 4, "num_levels": 2, "hidden": (8,), "heads": (4,)},
}
OUTPUTS = ["probability_clicked", "probability_bought"]

each_network = pytest.mark.parametrize("name", SEVERAL_TARGETS)


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
def test_one_target_is_refused_with_the_remedy(name: str, clicks: Splits) -> None:
    with pytest.raises(ModelError, match=rf"{name} learns several targets.*has one, 'clicked'.*Fix: Schema\("):
        build_model(name, clicks.schema)


@pytest.mark.parametrize("name", sorted(set(MODELS) - set(SEVERAL_TARGETS)))
def test_networks_of_one_target_refuse_several_with_the_remedy(name: str, kinds: dict[str, Splits]) -> None:
    with pytest.raises(ModelError, match=r"2 targets \(clicked, bought\).*learns one.*Fix: build_model\('mmoe'"):
        build_model(name, kinds["two targets"].schema, **needs(name).settings)


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
            if re.match(r"level_0_for_bought_\d_\d", layer.name):
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
