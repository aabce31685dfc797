"""Ranks and directions by what the scores make of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import first_rows, keras_scores
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit

from tfshop._keras import keras
from tfshop.compression import Candidate, LowRank
from tfshop.compression._table_slopes import divergence
from tfshop.compression.factoring import spectrum
from tfshop.data import Splits
from tfshop.errors import PlanError
from tfshop.training import predict

from .test_low_rank import drawn_kernel, many, seeds


@many
@given(st.integers(1, 9), st.integers(1, 9), seeds)
def test_weighed_factors_are_expected_to_lose_least_and_say_how_much(inputs, outputs, seed):
    """Of all kernels of a rank; the outputs' slopes weigh as much as the inputs' moments."""
    kernel, second = drawn_kernel(inputs, outputs, seed)
    _, slopes = drawn_kernel(outputs, 1, seed + 1)

    def expected(found: Any, rank: int) -> float:
        first, behind = found.factors(rank)
        change = kernel - first.astype(np.float64) @ behind
        return float(np.trace(change.T @ second @ change @ slopes)) / 2

    ways = [
        spectrum(kernel, second, slopes),
        spectrum(kernel, second),
        spectrum(kernel, None, slopes),
        spectrum(kernel),
    ]
    whole = ways[0].expected_losses(second, slopes)[0]
    assert whole == pytest.approx(float(np.trace(kernel.T @ second @ kernel @ slopes)) / 2)
    for rank in range(1, min(inputs, outputs) + 1):
        losses = [expected(found, rank) for found in ways]
        assert losses[0] <= min(losses) + 0.02 * whole
        for found, loss in zip(ways, losses, strict=True):
            assert found.expected_losses(second, slopes)[rank] == pytest.approx(loss, abs=1e-4 * whole)


def loud_and_quiet(clicks: Splits) -> Any:
    """Two equal layers side by side, of which the score hears one a hundred times as loud."""
    ids = keras.Input((3,), dtype="int32", name="ids")
    fields = keras.layers.Flatten()(keras.layers.Embedding(max(clicks.schema.tables.values()), 8, name="table")(ids))
    sides = [keras.layers.Dense(24, activation="relu", name=name)(fields) for name in ("quiet", "loud")]
    head = keras.layers.Dense(1, activation="sigmoid", name="probability")
    model = keras.Model(ids, head(keras.layers.Concatenate()(sides)))
    generator = np.random.default_rng(0)
    model.get_layer("table").set_weights([generator.normal(size=model.get_layer("table").get_weights()[0].shape)])
    model.get_layer("quiet").set_weights([generator.normal(size=(24, 24)) / 5, np.zeros(24)])
    model.get_layer("loud").set_weights(model.get_layer("quiet").get_weights())
    heard = generator.normal(size=24)
    head.set_weights([np.concatenate([0.01 * heard, heard])[:, None] / 3, np.zeros(1)])
    return model


@pytest.mark.parametrize("whiten", [True, False])
def test_a_budget_goes_to_the_layer_that_the_score_hears(clicks, whiten):
    model = loud_and_quiet(clicks)
    rows = first_rows({"ids": clicks.validation.inputs["ids"]}, 500)
    wanted, found, moved = logit(keras_scores(model, rows)), {}, {}
    for weigh in (True, False):
        step = LowRank(max_multiplies=0.6, weigh=weigh, whiten=whiten, epochs=0)
        after = step.apply(Candidate(model, clicks.schema), clicks, seed=0)
        found[weigh] = {row["layer"]: row["rank"] for row in after.history[-1].notes["factored"]}
        moved[weigh] = np.mean((logit(keras_scores(after.model, rows)) - wanted) ** 2)
        assert all(("expected_loss" in row) == weigh for row in after.history[-1].notes["factored"])
    assert abs(found[False]["quiet"] - found[False]["loud"]) <= 1, "their outputs are equal"
    assert found[True] == {"quiet": 2}, "the other is kept whole"
    assert moved[True] < 0.3 * moved[False], moved


def test_what_is_expected_to_be_lost_is_lost(trained_mlp, clicks):
    """To second order, and as if slopes were independent of what is read: of one layer at a time."""
    before = predict(trained_mlp, clicks.train).reshape(1, -1).astype(np.float64)
    for rank in (4, 8):
        step = LowRank(rank={"dense_1": rank}, epochs=0)
        after = step.apply(Candidate(trained_mlp, clicks.schema), clicks, seed=0)
        (row,) = after.history[-1].notes["factored"]
        lost = divergence(before, predict(after.model, clicks.train).reshape(1, -1).astype(np.float64))
        assert 0.3 < row["expected_loss"] / lost < 3, (row, lost)


def test_energy_is_that_of_the_outputs_whatever_the_scores_make_of_them():
    with pytest.raises(PlanError, match=r"weigh=False, which would do nothing.*Fix: max_multiplies"):
        LowRank(energy=0.9, weigh=False)
