"""Layers that are frozen hold still, and a network of nothing else is not fine-tuned for show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import same_weights
from networks import spread

from tfshop._keras import keras, tf
from tfshop.compression import QAT, Candidate, Cluster, Distill, DropFeatures, LowRank, Pass, Prune, PruneUnits
from tfshop.compression._quantizers import ChannelScales, LearnedSteps
from tfshop.compression.rebuild import copy_model
from tfshop.compression.roles import unwrapped
from tfshop.data import Splits
from tfshop.errors import PlanError

layers = keras.layers
FROZEN = ("first", "einsum", "attended")
COLUMNS = ChannelScales((0,))
STEPS: dict[str, Pass] = {
    "Prune": Prune(0.5),
    "Cluster": Cluster(8),
    "LowRank": LowRank(rank=4),
    "PruneUnits": PruneUnits(0.5),
    "DropFeatures": DropFeatures(("id_2",)),
    "QAT": QAT(),
}


@pytest.fixture(scope="module")
def half_frozen() -> Any:
    """A Dense layer, an einsum and an attention that are frozen, among others that are not."""
    ids = keras.Input((3,), dtype="int32", name="ids")
    rows = layers.Embedding(110, 8, name="table")(ids)
    einsum = layers.EinsumDense("bfi,ij->bfj", (3, 6), bias_axes="j", name="einsum", trainable=False)(rows)
    attended = layers.MultiHeadAttention(2, 3, name="attended", trainable=False)(rows, rows)
    joined = layers.Concatenate()([layers.Flatten()(part) for part in (rows, einsum, attended)])
    hidden = layers.Dense(16, activation="relu", name="first", trainable=False)(joined)
    hidden = layers.Dense(16, activation="relu", name="second")(hidden)
    model = keras.Model(ids, layers.Dense(1, activation="sigmoid", name="probability")(hidden), name="half_frozen")
    spread(model)
    return model


@pytest.mark.parametrize("bits", [8, 4])
def test_a_frozen_kernel_is_rounded_and_does_not_train(bits: int, half_frozen: Any, dense_clicks: Splits) -> None:
    brief = replace(dense_clicks, train=dense_clicks.train.take(512))
    step = QAT(bits=bits, learning_rate=1e-2)
    after = step.apply(Candidate(half_frozen, dense_clicks.schema), brief, seed=0)
    assert {*FROZEN, "second"} <= set(after.history[-1].notes["layers"])
    rule = LearnedSteps(bits, COLUMNS)
    for name in ("first", "einsum"):
        (kernel, bias), (found, other_bias) = (
            unwrapped(model.get_layer(name)).get_weights() for model in (half_frozen, after.model)
        )
        steps = {"steps": tf.constant(rule.first_steps(kernel))}
        wanted = COLUMNS.rounded(kernel) if bits == 8 else rule.rounded(kernel, steps)
        np.testing.assert_allclose(found, wanted, atol=1e-5, err_msg=name)
        assert not np.array_equal(found, kernel) and np.array_equal(bias, other_bias)
    before, now = (model.get_layer("attended").get_weights() for model in (half_frozen, after.model))
    assert all(np.array_equal(a, b) for a, b in zip(before[1::2], now[1::2], strict=True)), "biases"
    before, now = (unwrapped(model.get_layer("second")).kernel.numpy() for model in (half_frozen, after.model))
    assert np.abs(now - before).mean() > 2 * np.abs(COLUMNS.rounded(before) - before).mean(), "the others do"
    assert not any(unwrapped(after.model.get_layer(name)).trainable for name in FROZEN)


def test_the_shared_numbers_of_a_frozen_kernel_stay_where_they_start(half_frozen: Any, dense_clicks: Splits) -> None:
    brief = replace(dense_clicks, train=dense_clicks.train.take(512))
    step = Cluster(8, "linear", learning_rate=1e-2)
    after = step.apply(Candidate(half_frozen, dense_clicks.schema), brief, seed=0).model
    for name, holds in (("first", True), ("einsum", True), ("second", False)):
        start = step.first_weights(half_frozen.get_layer(name), half_frozen)[0]
        found = after.get_layer(name).get_weights()[0]
        assert len(np.unique(found)) <= 8 and np.allclose(found, start, atol=1e-6) == holds, name


@pytest.mark.parametrize("name", STEPS)
def test_a_frozen_network_is_refused_before_training(name: str, trained_mlp: Any, clicks: Splits) -> None:
    model = copy_model(trained_mlp)
    STEPS[name].check(model, clicks.schema)
    model.trainable = False
    with pytest.raises(PlanError, match=rf"{name} would train nothing: .*'mlp' are frozen.*Fix: model.trainable"):
        STEPS[name].check(model, clicks.schema)
    model.get_layer("logit").trainable = True
    STEPS[name].check(model, clicks.schema)


def test_a_student_that_cannot_learn_is_refused(trained_mlp: Any, clicks: Splits) -> None:
    student = copy_model(trained_mlp)
    student.trainable = False
    with pytest.raises(PlanError, match="Distill would train nothing"):
        Distill(student).check(trained_mlp, clicks.schema)


def test_a_frozen_network_is_changed_without_training(trained_mlp: Any, clicks: Splits) -> None:
    model = copy_model(trained_mlp)
    model.trainable = False
    for step in (Prune(0.5, "one_shot", epochs=0), LowRank(rank=4, epochs=0)):
        step.check(model, clicks.schema)
        after = step.apply(Candidate(model, clicks.schema), clicks, seed=0)
        assert not same_weights(after.model, model) and "fit" not in after.history[-1].notes
