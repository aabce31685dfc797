"""Two narrow kernels in the place of a wide one."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from helpers import first_rows, keras_scores, same_weights
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scipy.special import logit

import tfshop as ts
from tfshop._keras import keras
from tfshop.compression import Candidate, LowRank
from tfshop.compression.factoring import output_error, spectrum
from tfshop.compression.moments import input_moments
from tfshop.compression.ranks import BYTES_A_WEIGHT, Factorable, ranks_within
from tfshop.compression.rebuild import with_factors
from tfshop.compression.roles import layers_with, roles
from tfshop.data import Splits
from tfshop.errors import PlanError
from tfshop.export import Export
from tfshop.models.rebuild import inlined
from tfshop.runtime import Scorer, count_multiplies, count_zeros, read_graph
from tfshop.runtime.inventory import bytes_by_part

from .random_networks import random_network, steps

seeds = st.integers(0, 10_000)
few = settings(max_examples=12, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
many = settings(max_examples=80, derandomize=True, deadline=None)


def drawn_kernel(inputs: int, outputs: int, seed: int, *, silent: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A kernel, and second moments of skewed inputs, of which the first `silent` never say anything."""
    generator = np.random.default_rng(seed)
    rows = generator.normal(1, 1, (200, inputs)) @ generator.normal(size=(inputs, inputs)) * 10.0 ** -np.arange(inputs)
    rows[:, :silent] = 0.0
    return generator.normal(size=(inputs, outputs)), rows.T @ rows / len(rows)


def error(kernel: np.ndarray, second: np.ndarray, rank: int, *, whiten: bool) -> float:
    first, behind = spectrum(kernel, second if whiten else None).factors(rank)
    return output_error(kernel, first.astype(np.float64) @ behind, second)


@many
@given(st.integers(1, 12), st.integers(1, 12), seeds, st.integers(0, 12))
def test_whitened_factors_lose_least_of_the_outputs_and_less_with_each_rank(inputs, outputs, seed, silent):
    kernel, second = drawn_kernel(inputs, outputs, seed, silent=silent)
    ranks = range(1, min(inputs, outputs) + 1)
    errors = [error(kernel, second, rank, whiten=True) for rank in ranks]
    for before, after in pairwise(errors):
        assert after <= before + 1e-6
    for rank, found in zip(ranks, errors, strict=True):
        assert found <= error(kernel, second, rank, whiten=False) + 1e-5
    assert errors[-1] < 1e-9 or silent == inputs
    first, behind = spectrum(kernel, second).factors(ranks[-1])
    np.testing.assert_allclose(first @ behind, kernel, atol=1e-5)


def test_the_size_of_a_direction_is_spread_over_both_kernels():
    """In int8 one scale serves all that passes between the two."""
    kernel, second = drawn_kernel(6, 5, seed=2)
    first, behind = spectrum(kernel, second).factors(3)
    passing = np.sqrt(np.diagonal(first.T.astype(np.float64) @ second @ first))
    np.testing.assert_allclose(passing, np.linalg.norm(behind, axis=1), rtol=0.05)


def test_where_inputs_are_skewed_plain_singular_vectors_lose_much_more():
    kernel, second = drawn_kernel(10, 8, seed=1)
    assert error(kernel, second, 2, whiten=True) < 0.1 * error(kernel, second, 2, whiten=False)


@few
@given(steps(), seeds)
def test_full_rank_leaves_the_scores_of_any_network_as_they_are(clicks, drawn, seed):
    model = inlined(random_network(clicks.schema, drawn, seed))
    names = layers_with(model, ("dense",))
    moments = input_moments(model, names, clicks.train, rows=64)
    kernels = {name: model.get_layer(name).kernel.numpy() for name in names}
    full = {name: spectrum(k, moments[name].second).factors(min(k.shape)) for name, k in kernels.items()}
    factored = with_factors(model, full)
    rows = first_rows({"ids": clicks.train.inputs["ids"]}, 64)
    rows["ids"][::2, 1] = 0
    np.testing.assert_allclose(keras_scores(factored, rows), keras_scores(model, rows), atol=1e-5)
    assert len(factored.layers) == len(model.layers) + len(names)
    kept = set(layers_with(factored, ("dense",)))
    assert kept == {*names, *(f"{name}_in" for name in names)}
    assert layers_with(factored, ("head",)) == layers_with(model, ("head",)) == ("logit",)


@settings(few, max_examples=8, phases=(Phase.generate,))
@given(steps(), seeds)
def test_scores_of_any_network_move_less_with_a_higher_rank(clicks, drawn, seed):
    """Logits on average over rows; layer by layer the ranks rise as well."""
    model = random_network(clicks.schema, drawn, seed)
    rows = first_rows({"ids": clicks.train.inputs["ids"]}, 256)
    rows["ids"][::2, 1] = 0
    wanted = logit(keras_scores(model, rows))
    ranks, moved = [], []
    for energy in (0.5, 0.9, 0.99):
        after = LowRank(energy=energy, epochs=0).apply(Candidate(model, clicks.schema), clicks, seed=0)
        found = {row["layer"]: row for row in after.history[-1].notes["factored"]}
        assert all(row["output_error"] <= 1 - energy + 1e-5 for row in found.values())
        ranks.append({name: row["rank"] for name, row in found.items()})
        moved.append(float(np.mean((logit(keras_scores(after.model, rows)) - wanted) ** 2) / wanted.var()))
    for lower, higher in pairwise(ranks):
        assert all(lower[name] <= rank for name, rank in higher.items() if name in lower)
    assert moved[0] > moved[1] >= moved[2], moved


@pytest.fixture(scope="module")
def factored(trained_dcn: Any, clicks: Splits) -> Candidate:
    """A third of the multiplies, not trained after."""
    return LowRank(max_multiplies=0.33, epochs=0).apply(Candidate(trained_dcn, clicks.schema), clicks, seed=0)


def test_the_file_multiplies_less_and_is_smaller(factored, exported, clicks):
    before, after = exported("dcn", "float32"), Export("float32").to_bytes(factored.model, clicks)
    notes = factored.history[-1].notes
    assert notes["multiplies"] <= 0.33 * notes["multiplies_before"]
    saved = notes["multiplies_before"] - notes["multiplies"]
    assert count_multiplies(before) - count_multiplies(after) == saved > 0.6 * count_multiplies(before)
    weights_before, weights = count_zeros(before)[1], count_zeros(after)[1]
    assert weights_before - weights == notes["kernel_weights_before"] - notes["kernel_weights"] > 5000
    assert bytes_by_part(after)["dense"] < 0.45 * bytes_by_part(before)["dense"]
    assert len(after) < len(before) - 4 * 0.6 * weights_before
    more = read_graph(after).kinds["FULLY_CONNECTED"] - read_graph(before).kinds["FULLY_CONNECTED"]
    assert more == len(notes["factored"]) > 2
    rows = first_rows(clicks.test.inputs, 200)
    np.testing.assert_allclose(Scorer(after)(rows), keras_scores(factored.model, rows), atol=1e-5)


def test_the_int8_file_keeps_the_factors(factored, clicks):
    content = Export("int8", calibration_rows=512).to_bytes(factored.model, clicks)
    rows = first_rows(clicks.test.inputs, 500)
    assert np.corrcoef(Scorer(content)(rows), keras_scores(factored.model, rows))[0, 1] > 0.99
    assert any("dense_1_in" in tensor.name for tensor in read_graph(content).tensors)


def test_whitening_keeps_the_scores_better_than_plain_singular_vectors(trained_mlp, clicks):
    rows = first_rows(clicks.validation.inputs, 500)
    wanted = keras_scores(trained_mlp, rows)
    gaps = {}
    for whiten in (True, False):
        step = LowRank(rank=3, whiten=whiten, epochs=0)
        after = step.apply(Candidate(trained_mlp, clicks.schema), clicks, seed=0)
        gaps[whiten] = np.mean((keras_scores(after.model, rows) - wanted) ** 2)
    assert gaps[True] < 0.8 * gaps[False]


def test_fine_tuning_is_optional_and_changes_weights(trained_mlp, clicks, brief):
    candidate = Candidate(trained_mlp, clicks.schema)
    still, tuned = (LowRank(rank=4, epochs=epochs).apply(candidate, brief, seed=0) for epochs in (0, 1))
    assert "fit" not in still.history[-1].notes and still.history[-1].curve == ()
    assert len(tuned.history[-1].notes["fit"]["epochs"]) == 1 and not same_weights(still.model, tuned.model)
    np.testing.assert_array_equal(
        still.model.get_layer("table").get_weights()[0], trained_mlp.get_layer("table").get_weights()[0]
    )


def test_the_new_layers_play_the_roles_of_the_old(factored):
    played = roles(factored.model)
    assert played["cross_0_kernel_in"] == played["cross_0_kernel"] == "cross"
    assert played["dense_1_in"] == played["dense_1"] == "dense" and played["logit"] == "head"
    first, second = (factored.model.get_layer(name) for name in ("dense_1_in", "dense_1"))
    assert not first.use_bias and first.activation is keras.activations.linear
    assert second.use_bias and second.activation is keras.activations.relu


def test_what_does_not_pay_is_left_alone_and_told(trained_mlp, clicks):
    step = LowRank(rank={"dense_1": 4}, epochs=0).apply(Candidate(trained_mlp, clicks.schema), clicks, seed=0)
    told = {row["layer"]: row["reason"] for row in step.history[-1].notes["left_alone"]}
    assert "no rank" in told["dense_0"] and "single column" in told["logit"] and "Embedding" in told["table"]
    step = LowRank(rank=22, epochs=0).apply(Candidate(trained_mlp, clicks.schema), clicks, seed=0)
    told = {row["layer"]: row["reason"] for row in step.history[-1].notes["left_alone"]}
    assert "rank 22 would take 2,112 weights, its kernel has 2,048" in told["dense_1"]
    assert same_weights(step.model, trained_mlp), "nothing paid, so nothing changes"


def test_a_layer_called_twice_and_one_in_a_submodel_are_factored_once(clicks):
    drawn = [("shared", 16, 1), ("nested", 16, 2)]
    model = random_network(clicks.schema, drawn)
    after = LowRank(rank=2, epochs=1).apply(Candidate(model, clicks.schema), clicks, seed=0)
    found = {row["layer"] for row in after.history[-1].notes["factored"]}
    assert {"tower_3/inner", "tower_3/outer"} <= found
    twice = [one for one in after.model.layers if one.name.endswith("_in") and len(one._inbound_nodes) == 3]
    assert len(twice) == 1, "the layer that is called three times is called three times in two"
    assert after.model.output_names == ["probability"]


def test_several_targets_and_the_whole_way(trained_several, two_targets):
    plan = ts.chain(LowRank(max_bytes=0.6, epochs=1), ts.Prune(0.5), ts.QAT(), ts.Export("int8"))
    plan.check(trained_several, two_targets.schema)
    current = Candidate(trained_several, two_targets.schema)
    for step in plan.passes:
        step.check(current.model, current.schema)
        current = step.apply(current, two_targets, seed=0)
    assert current.model.output_names == ["probability_clicked", "probability_bought"]
    content = plan.exporter.to_bytes(current.model, two_targets)
    zeros, size = count_zeros(content)
    assert size < count_zeros(Export("float32").to_bytes(trained_several, two_targets))[1]
    assert zeros > 0.4 * size


def kernel(name: str, inputs: int, outputs: int, values: list[float], positions: int = 1) -> Factorable:
    squares = np.asarray(values, np.float64) ** 2
    behind = np.append(np.cumsum(squares[::-1])[::-1], 0.0)
    losses = behind / behind[0]
    return Factorable(name, inputs, outputs, positions, losses, losses)


def test_a_budget_goes_where_most_is_lost_for_its_cost():
    flat, steep = kernel("flat", 20, 20, [1.0] * 20), kernel("steep", 20, 20, [1.0] + [0.01] * 19)
    budget = BYTES_A_WEIGHT * 40 * 8
    ranks = ranks_within([flat, steep], budget, Factorable.bytes)
    assert ranks == {"flat": 7, "steep": 1}
    large, small = kernel("large", 40, 40, [1.0] * 40), kernel("small", 20, 20, [1.0] + [0.2] * 19)
    ranks = ranks_within([large, small], BYTES_A_WEIGHT * (80 + 40 + 120), Factorable.bytes)
    assert ranks == {"large": 1, "small": 4}, "a direction of the small one saves less, but more for its cost"
    falling = [0.9**position for position in range(20)]
    once, often = kernel("once", 20, 20, falling), kernel("often", 20, 20, falling, positions=10)
    by_multiplies = ranks_within([once, often], 40 * 20, Factorable.multiplies)
    by_bytes = ranks_within([once, often], BYTES_A_WEIGHT * 40 * 10, Factorable.bytes)
    assert by_multiplies == {"once": None, "often": 1} and by_bytes == {"once": 5, "often": 5}


@many
@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30), seeds), min_size=1, max_size=4), st.floats(0.1, 1.0))
def test_a_budget_is_kept_and_a_larger_one_loses_no_more(sizes, share):
    kernels = [
        kernel(f"k{i}", n, m, sorted(np.random.default_rng(s).random(min(n, m)), reverse=True))
        for i, (n, m, s) in enumerate(sizes)
    ]
    whole = sum(k.weights(None) for k in kernels)
    least = sum(k.weights(1 if k.pays(1) else None) for k in kernels)
    budget = max(least, share * whole)
    ranks = ranks_within(kernels, budget, Factorable.weights)
    assert sum(k.weights(ranks[k.name]) for k in kernels) <= budget
    assert all(rank is None or kernels[int(name[1:])].pays(rank) for name, rank in ranks.items())
    assert ranks_within(kernels, whole, Factorable.weights) == {k.name: None for k in kernels}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"energy": 0.0}, r"energy is 0.0. Expected a share as a float in \(0, 1\]"),
        ({"energy": 2}, "energy is 2"),
        ({"rank": 0}, "rank is 0. Expected a whole number, or a share"),
        ({"rank": {"dense_0": True}}, "rank is True"),
        ({"max_bytes": 1.0}, r"max_bytes is 1.0. .*\(0, 1\)"),
        ({"rank": 4, "max_bytes": 100}, "given rank and max_bytes. Expected one way"),
        ({"roles": ("table",)}, "cannot treat role 'table'"),
    ],
)
def test_settings_out_of_range_are_refused_at_construction(change, message):
    with pytest.raises(PlanError, match=message):
        LowRank(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rank": {"dense_9": 4}}, "rank names dense_9.*dense_0"),
        ({"max_bytes": 8}, "max_bytes is 8, which is 8. Expected at least .* rank 1 throughout"),
        ({"rank": 64}, "finds no kernel in 'mlp' that pays.*Fix: a smaller rank"),
        ({"roles": ("cross",)}, "finds no layer with role cross"),
    ],
)
def test_what_leaves_nothing_to_factor_is_refused_before_training(change, message, trained_mlp, clicks):
    with pytest.raises(PlanError, match=message):
        LowRank(**change).check(trained_mlp, clicks.schema)


def test_a_plan_refuses_factoring_what_has_zeros():
    with pytest.raises(PlanError, match="would undo its zeros"):
        ts.chain(ts.Prune(0.5), LowRank(), ts.Export("int8"))
