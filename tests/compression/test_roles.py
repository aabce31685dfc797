"""Passes choose layers by the part they play."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tfshop._keras import keras
from tfshop.compression.roles import layers_with, require_roles, roles
from tfshop.errors import PlanError
from tfshop.layers import OutputRange

EXPECTED = {
    "mlp": {"dense": ("dense_0", "dense_0_numeric", "dense_1"), "head": ("logit",), "table": ("table",), "cross": ()},
    "deepfm": {
        "dense": ("dense_0", "dense_0_numeric", "dense_1"),
        "head": ("head_logit", "first_order_numeric"),
        "table": ("table", "first_order"),
        "cross": (),
    },
    "dcn": {
        "dense": ("dense_0", "dense_0_numeric", "dense_1"),
        "head": ("logit",),
        "table": ("table",),
        "cross": ("cross_0_kernel", "cross_1_kernel", "cross_2_kernel"),
    },
}


@pytest.mark.parametrize("name", EXPECTED)
def test_every_layer_with_weights_has_its_role(name: str, trained: Callable[[str], Any]) -> None:
    model = trained(name)
    found = {role: set(layers_with(model, (role,))) for role in EXPECTED[name]}
    assert found == {role: set(names) for role, names in EXPECTED[name].items()}
    others = layers_with(model, ("other",))
    assert others and not any(model.get_layer(other).weights for other in others)


def test_a_layer_with_a_trained_range_keeps_its_role() -> None:
    x = keras.Input((4,))
    hidden = OutputRange(keras.layers.Dense(3, name="dense_0"), 0.0, 1.0)(x)
    logit = OutputRange(keras.layers.Dense(1, name="logit"), 0.0, 1.0)(hidden)
    model = keras.Model(x, keras.layers.Activation("sigmoid")(logit))
    assert {name: role for name, role in roles(model).items() if role != "other"} == {
        "dense_0": "dense",
        "logit": "head",
    }


def test_a_head_with_its_own_sigmoid_is_a_head() -> None:
    x = keras.Input((4,))
    hidden = keras.layers.Dense(3, name="hidden")(x)
    model = keras.Model(x, keras.layers.Dense(1, activation="sigmoid", name="out")(hidden))
    assert layers_with(model, ("head",)) == ("out",) and layers_with(model, ("dense",)) == ("hidden",)


def test_a_role_without_a_rule_is_refused_with_those_that_have_one(trained_mlp: Any) -> None:
    with pytest.raises(
        PlanError, match=r"QAT cannot treat role 'table'. Expected roles from dense, cross; got dense, table"
    ):
        require_roles(trained_mlp, ("dense", "table"), wanted_by="QAT", allowed=("dense", "cross"))


def test_a_role_that_no_layer_plays_is_refused_with_those_that_are_played(trained_mlp: Any) -> None:
    with pytest.raises(PlanError, match=r"no layer with role cross in 'mlp'. Found roles: dense, head, other, table"):
        require_roles(trained_mlp, ("cross",), wanted_by="Prune", allowed=("dense", "cross"))
