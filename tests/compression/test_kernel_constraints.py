"""What somebody demands of a kernel holds through passes, or they leave the kernel alone and say so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from networks import spread

from tfshop._keras import keras
from tfshop.compression import QAT, Candidate, Equalize, LowRank
from tfshop.compression.low_rank import is_constrained
from tfshop.compression.rebuild import KeepZeros
from tfshop.compression.roles import unwrapped
from tfshop.data import Splits
from tfshop.errors import PlanError
from tfshop.probing.material import Material
from tfshop.probing.rank import Rank
from tfshop.training import predict

layers = keras.layers


def network(*others: str) -> Any:
    """Two Dense layers, "held" without a weight below zero and with many at zero; `others` are held too."""
    ids = keras.Input((3,), dtype="int32", name="ids")
    hidden = layers.Flatten()(layers.Embedding(110, 8, name="table")(ids))
    for name in ("held", "free"):
        constraint = "non_neg" if name in ("held", *others) else None
        hidden = layers.Dense(16, activation="relu", kernel_constraint=constraint, name=name)(hidden)
    model = keras.Model(ids, layers.Dense(1, activation="sigmoid", name="probability")(hidden), name="positive")
    spread(model)
    kernel = model.get_layer("held").kernel
    kernel.assign(np.maximum(kernel.numpy(), 0))
    return model


def test_training_with_rounding_keeps_a_constraint_beside_zeros(dense_clicks: Splits) -> None:
    model = network()
    brief = replace(dense_clicks, train=dense_clicks.train.take(1024))
    after = QAT(learning_rate=1e-2).apply(Candidate(model, dense_clicks.schema), brief, seed=0)
    assert after.history[-1].notes["zeros_kept_in"] == ["held"]
    before, kernel = (unwrapped(one.get_layer("held")).kernel.numpy() for one in (model, after.model))
    assert (kernel >= 0).all() and (kernel[before == 0] == 0).all()
    assert ((kernel == 0) & (before > 0)).any(), "no weight came to the end it is held at: nothing was shown"
    assert type(model.get_layer("held").kernel_constraint) is keras.constraints.NonNeg


def test_zeros_and_another_constraint_are_made_again_together() -> None:
    mask = np.float32([[1, 0], [1, 1]])
    both = KeepZeros(mask, before=keras.constraints.NonNeg())
    again = keras.constraints.deserialize(keras.constraints.serialize(both))
    np.testing.assert_array_equal(again.mask, mask)
    np.testing.assert_array_equal(again(np.float32([[1, 2], [-3, 4]])), [[1, 0], [0, 4]])


def test_a_kernel_with_a_constraint_is_left_whole_and_told(dense_clicks: Splits) -> None:
    model, step = network(), LowRank(rank=2, epochs=0)
    step.check(model, dense_clicks.schema)
    after = step.apply(Candidate(model, dense_clicks.schema), dense_clicks, seed=0)
    assert after.history[-1].notes["layers"] == ["free"]
    told = {row["layer"]: row["reason"] for row in after.history[-1].notes["left_alone"]}
    assert "kernel_constraint" in told["held"]
    assert type(after.model.get_layer("held").kernel_constraint) is keras.constraints.NonNeg
    assert {layer.name for layer in step.foreseen(model, dense_clicks.schema).layers} >= {"held", "free_in"}
    with pytest.raises(PlanError, match="rank names held, which LowRank cannot factor"):
        LowRank(rank={"held": 2}).check(model, dense_clicks.schema)
    with pytest.raises(PlanError, match=r"each has a kernel_constraint.*Fix:"):
        step.check(network("free"), dense_clicks.schema)


def test_the_sensitivity_does_not_offer_what_low_rank_leaves_alone(dense_clicks: Splits) -> None:
    material = Material(network(), ("held", "free"), dense_clicks, seed=0)
    assert "kernel_constraint" in str(Rank().refuses(material, "held", 0.1))
    assert Rank().refuses(material, "free", 0.1) is None


def test_zeros_alone_are_no_constraint_of_somebodys() -> None:
    mask = np.ones((2, 2), np.float32)
    assert not is_constrained(layers.Dense(2, kernel_constraint=KeepZeros(mask)))
    assert is_constrained(layers.Dense(2, kernel_constraint=KeepZeros(mask, before="non_neg")))


def tower(held: dict[str, dict[str, Any]]) -> Any:
    """Paths of scales from "first", "second" and "norm" to what reads them; layers in `held` meet their constraints."""
    ids = keras.Input((3,), dtype="int32", name="ids")
    hidden = layers.Flatten()(layers.Embedding(110, 8, name="table")(ids))
    for name in ("first", "second", "third"):
        hidden = layers.Dense(8, activation="relu", name=name, **held.get(name, {}))(hidden)
    hidden = layers.BatchNormalization(name="norm", **held.get("norm", {}))(hidden)
    score = layers.Dense(1, activation="sigmoid", name="probability", **held.get("probability", {}))(hidden)
    model = keras.Model(ids, score, name="bounded")
    spread(model)
    for weight, constraint in bounded(model, held):
        weight.assign(constraint(3 * weight))
    return model


def bounded(model: Any, held: dict[str, dict[str, Any]]) -> list[tuple[Any, Any]]:
    """Weights of a model and the constraints they have."""
    return [
        (getattr(model.get_layer(name), given.removesuffix("_constraint")), getattr(model.get_layer(name), given))
        for name, constraints in held.items()
        for given in constraints
    ]


EVERYWHERE = {"first", "second", "norm"}
SHORT = "max_norm"


@pytest.mark.parametrize(
    ("held", "scaled"),
    [
        ({}, EVERYWHERE),
        ({"first": {"kernel_constraint": SHORT}}, {"second", "norm"}),
        ({"second": {"kernel_constraint": SHORT}}, {"norm"}),
        ({"second": {"kernel_constraint": KeepZeros(np.ones((8, 8)), before=SHORT)}}, {"norm"}),
        ({"second": {"bias_constraint": SHORT}}, {"first", "norm"}),
        ({"norm": {"gamma_constraint": SHORT}}, {"first", "second"}),
        ({"norm": {"beta_constraint": SHORT}}, {"first", "second"}),
        ({"second": {"kernel_constraint": "non_neg"}}, EVERYWHERE),
        ({"second": {"kernel_constraint": KeepZeros(np.eye(8))}}, EVERYWHERE),
        ({"probability": {"bias_constraint": SHORT}}, EVERYWHERE),
    ],
)
def test_no_scale_breaks_a_constraint(held: dict[str, dict[str, Any]], scaled: set[str], dense_clicks: Splits) -> None:
    model, step = tower(held), Equalize(inputs=False)
    step.check(model, dense_clicks.schema)
    after = step.apply(Candidate(model, dense_clicks.schema), dense_clicks, seed=0)
    for weight, constraint in bounded(after.model, held):
        np.testing.assert_allclose(constraint(weight), weight, rtol=1e-5)
    assert {row["layer"] for row in after.history[-1].notes["equalized"]} == scaled
    told = {row["layer"]: row["reason"] for row in after.history[-1].notes["left_alone"]}
    assert all(next(iter(held[name])) in told[name] for name in set(held) & set(told))
    before, found = (predict(one, dense_clicks.validation) for one in (model, after.model))
    np.testing.assert_allclose(found, before, atol=1e-5)


def test_where_constraints_leave_nothing_to_scale_it_is_said(dense_clicks: Splits) -> None:
    model = tower({"second": {"kernel_constraint": SHORT}, "norm": {"gamma_constraint": SHORT}})
    with pytest.raises(PlanError, match=r"nothing to scale .*; 'first': 'second' shares .*kernel_constraint.*Fix:"):
        Equalize(inputs=False).check(model, dense_clicks.schema)
