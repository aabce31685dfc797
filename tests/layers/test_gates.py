"""Gates around one."""

from __future__ import annotations

import numpy as np

from layers.references import normal, random_model, sigmoid
from tfshop.layers import ConstantGate, Gate


def test_a_gate_lets_through_twice_the_sigmoid_of_its_logit() -> None:
    features, logits = normal(4, 3), 3 * normal(4, 3, seed=2)
    np.testing.assert_allclose(Gate()([features, logits]), features * 2 * sigmoid(logits), rtol=1e-5)


def test_a_constant_gate_is_the_same_for_every_example() -> None:
    model = random_model(ConstantGate(name="gate"), [(3,)])
    (logits,) = model.get_layer("gate").get_weights()
    features = normal(4, 3)
    np.testing.assert_allclose(model(features), features * 2 * sigmoid(logits), rtol=1e-5)


def test_a_fresh_constant_gate_changes_nothing() -> None:
    features = normal(4, 3)
    np.testing.assert_array_equal(ConstantGate()(features), features)
