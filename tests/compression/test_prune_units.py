"""Units go from every kind of network, and the file of what is left is smaller and multiplies less."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from foreign.conftest import click_schema, click_table
from foreign.styles import STYLES
from helpers import first_rows, keras_scores, same_weights
from networks import keras_outputs, needs

from tfshop._keras import keras
from tfshop.compression import Candidate, LowRank, Prune, PruneUnits
from tfshop.compression.rebuild import copy_model
from tfshop.compression.units.groups import groups
from tfshop.compression.units.trace import follow
from tfshop.data import RandomSplit, Splits, prepare
from tfshop.errors import PlanError
from tfshop.export import chain, convert
from tfshop.export.plan import Plan
from tfshop.models import MODELS
from tfshop.models.rebuild import inlined
from tfshop.runtime import Scorer, count_multiplies, read_graph

STRUCTURE = PruneUnits(0.5, minimum=2, epochs=0)
WITHOUT_UNITS = ("logistic_regression", "fm", "fwfm", "ffm")  # tables and sums
HEADS_EXPERTS = {"autoint": "head", "bst": "head", "dcn_mix": "expert", "mmoe": "expert", "ple": "expert"}
Named = Callable[[str], tuple[Any, Splits]]


@pytest.fixture(scope="module")
def halved(richest: Named) -> Callable[[str], Candidate]:
    """A network of `MODELS` with half of its units, once each; the one that came in is left as it was."""

    @cache
    def once(name: str) -> Candidate:
        model, data = richest(name)
        weights = model.get_weights()
        STRUCTURE.check(model, data.schema)
        after = STRUCTURE.apply(Candidate(model, data.schema), data, seed=0)
        assert same_weights(model, weights)
        return after

    return once


@pytest.mark.parametrize("name", [name for name in MODELS if name not in WITHOUT_UNITS])
def test_half_of_the_units_of_every_network_can_go(
    name: str, richest: Named, halved: Callable[[str], Candidate]
) -> None:
    model, data = richest(name)
    after = halved(name)
    notes = json.loads(json.dumps(after.history[0].to_dict(), allow_nan=False))["notes"]
    assert after.model.count_params() == notes["parameters"][1] < notes["parameters"][0] == model.count_params()
    assert notes["multiplications"][1] < notes["multiplications"][0]
    for group in notes["groups"]:
        wanted = group["before"] - int(0.5 * group["before"] + 0.5)
        least = 2 if group["kind"] == "unit" else 1
        assert group["after"] >= min(group["before"], max(least, wanted))
    assert name not in HEADS_EXPERTS or any(
        group["kind"] == HEADS_EXPERTS[name] and group["after"] < group["before"] for group in notes["groups"]
    )
    scores = keras_outputs(after.model, first_rows(data.validation.inputs, 40))
    assert list(scores) == list(needs(name).outputs)
    assert all(np.isfinite(found).all() and np.ptp(found) > 0 for found in scores.values())
    assert [t.name for t in after.model.inputs] == [t.name for t in model.inputs]


@pytest.mark.parametrize("name", WITHOUT_UNITS)
def test_a_network_of_tables_alone_is_refused(name: str, richest: Named) -> None:
    model, data = richest(name)
    with pytest.raises(PlanError, match=f"PruneUnits finds no units.*{name}.*the width of its table stays.*Fix:"):
        STRUCTURE.check(model, data.schema)


@pytest.mark.parametrize("name", ["dcn_mix", "mmoe"])
def test_the_file_multiplies_less_and_is_smaller(name: str, richest: Named, halved: Callable[[str], Candidate]) -> None:
    model, data = richest(name)
    after = halved(name).model
    before_file, file = convert(model, "float32"), convert(after, "float32")
    assert count_multiplies(file) < 0.75 * count_multiplies(before_file)
    assert len(file) < len(before_file) - 2 * (model.count_params() - after.count_params())
    rows = first_rows(data.validation.inputs, 20)
    found = Scorer(file)(rows)
    for output, scores in keras_outputs(after, rows).items():
        np.testing.assert_allclose(found[output] if isinstance(found, dict) else found, scores, atol=1e-5)


FOLLOWED = {  # style: layers that lose units, and what others are blocked by
    "plain": ({"first", "second"}, ""),
    "interactions": ({"first"}, ""),
    "factorization": ({"users", "items"}, ""),
    "with_lambda": ({"second"}, "'twice' (Lambda) reads it"),
    "with_tf_ops": ({"second"}, "(TFOpLambda) reads it"),
    "normalized": ({"first", "second"}, "mean and variance"),
    "shared_layers": ({"tower", "second"}, ""),
    "shared_tower": ({"tower/inner", "tower/outer", "second"}, ""),
    "nested": ({"middle/inner/first", "middle/inner/second", "middle/first", "first", "head/first"}, ""),
    "two_inputs_a_submodel": ({"first"}, ""),
    "custom_layers": ({"second"}, "'unregistered' (Unregistered) reads it"),
    "attention": ({"heads", "first"}, ""),
}


@pytest.fixture(scope="module")
def small_log() -> Splits:
    return prepare(click_table(600), click_schema(), split=RandomSplit(seed=0), batch_size=128)


@pytest.mark.parametrize("style", FOLLOWED)
def test_units_of_networks_of_others_go_or_say_why_not(style: str, small_log: Splits) -> None:
    keras.utils.set_random_seed(0)
    model = STYLES[style](small_log.schema)
    STRUCTURE.check(model, small_log.schema)
    after = STRUCTURE.apply(Candidate(model, small_log.schema), small_log, seed=0)
    notes = after.history[0].notes
    smaller = {name for group in notes["groups"] if group["after"] < group["before"] for name in group["layers"]}
    treated, reason = FOLLOWED[style]
    assert smaller == treated
    reasons = {row["layer"]: row["reason"] for row in notes["left_alone"]}
    assert not treated & set(reasons)
    assert any(reason in found for found in reasons.values())
    before = {layer.name: layer for layer in inlined(model).layers}
    for layer in after.model.layers:
        if type(layer) is keras.layers.Dense:
            assert (layer.units < before[layer.name].units) == (layer.name in treated)
    assert np.isfinite(after.model.get_weights()[-1]).all()
    assert read_graph(convert(after.model, "float32")).custom_operators == ()


def test_a_budget_of_multiplications_is_kept(trained_mlp: Any, clicks: Splits) -> None:
    for scope in ("local", "global"):
        step = PruneUnits(multiplies=0.4, scope=scope, epochs=0)
        step.check(trained_mlp, clicks.schema)
        before, after = step.apply(Candidate(trained_mlp, clicks.schema), clicks, 0).history[0].notes["multiplications"]
        assert 0.3 * before < after <= 0.4 * before
    with pytest.raises(PlanError, match=r"cannot bring 'mlp' to 1%.*minimum=4.*Fix: multiplies="):
        PruneUnits(multiplies=0.01).check(trained_mlp, clicks.schema)


def test_one_ranking_for_all_layers_takes_from_the_layer_that_matters_less(trained_mlp: Any, clicks: Splits) -> None:
    """A share of each layer, or of all together: half the units of one layer were made next to nothing."""
    model = copy_model(trained_mlp)
    layer = model.get_layer("dense_1")
    layer.set_weights([np.where(np.arange(32) < 16, 1e-4, 1) * weight for weight in layer.get_weights()])
    widths = {}
    for scope in ("local", "global"):
        step = PruneUnits(0.3, scope=scope, epochs=0)
        after = step.apply(Candidate(model, clicks.schema), clicks, 0).model
        widths[scope] = [after.get_layer(name).units for name in ("dense_0", "dense_1")]
    assert widths["local"] == [45, 22]
    assert widths["global"][0] > 45 and widths["global"][1] <= 16


def test_maps_of_an_interaction_network_go(halved: Callable[[str], Candidate]) -> None:
    groups_of = halved("xdeepfm").history[0].notes["groups"]
    smaller = {name for group in groups_of if group["after"] < group["before"] for name in group["layers"]}
    assert {"cross_0_kernel", "cross_1_kernel"} <= smaller


def test_widths_can_be_multiples_and_layers_kept(trained_mlp: Any, clicks: Splits) -> None:
    step = PruneUnits(0.6, multiple_of=8, keep=("dense_1",), epochs=0)
    after = step.apply(Candidate(trained_mlp, clicks.schema), clicks, 0)
    assert after.model.get_layer("dense_0").units == 32 and after.model.get_layer("dense_1").units == 32
    rows = {row["layer"]: row["reason"] for row in after.history[0].notes["left_alone"]}
    assert rows["dense_1"] == "it was to keep its units" and rows["table"] == "the width of its table stays"
    with pytest.raises(PlanError, match="keep 'dense_9'"):
        PruneUnits(keep=("dense_9",)).check(trained_mlp, clicks.schema)


def test_a_layer_says_which_kept_one_it_is_added_to(trained_mlp: Any, clicks: Splits) -> None:
    """Ids and numbers have a kernel each in the first layer, whose products are added up."""
    told = "'dense_0_numeric' was to keep its units, and these go with them"
    step = PruneUnits(0.5, keep=("dense_0_numeric",), epochs=0)
    after = step.apply(Candidate(trained_mlp, clicks.schema), clicks, 0)
    assert after.model.get_layer("dense_0").units == 64 and after.model.get_layer("dense_1").units == 16
    rows = {row["layer"]: row["reason"] for row in after.history[0].notes["left_alone"]}
    assert rows["dense_0"] == told and rows["dense_0_numeric"] == "it was to keep its units"
    others = tuple(layer.name for layer in trained_mlp.layers if layer.name != "dense_0")
    with pytest.raises(PlanError, match=f"finds no units.*; 'dense_0' stays, as {told}.*Fix:.*keep fewer layers"):
        PruneUnits(keep=others).check(trained_mlp, clicks.schema)


def test_scores_that_know_the_weights_beat_random_ones(trained_mlp: Any, clicks: Splits) -> None:
    rows = first_rows(clicks.validation.inputs, 400)
    expected = keras_scores(trained_mlp, rows)
    gaps = {}
    for importance in ("random", "magnitude", "activation", "taylor"):
        step = PruneUnits(0.5, importance=importance, epochs=0)
        after = step.apply(Candidate(trained_mlp, clicks.schema), clicks, seed=0)
        gaps[importance] = float(np.abs(keras_scores(after.model, rows) - expected).mean())
    assert gaps["random"] > 1.5 * max(gaps[name] for name in gaps if name != "random"), gaps


def test_heads_that_an_importance_cannot_score_stay_and_it_is_said(small_log: Splits) -> None:
    model = STYLES["attention"](small_log.schema)
    step = PruneUnits(0.5, importance="activation", minimum=1, epochs=0)  # by magnitude they go, see FOLLOWED
    notes = step.apply(Candidate(model, small_log.schema), small_log, 0).history[0].notes
    told = {row["layer"]: row["reason"] for row in notes["left_alone"]}
    assert notes["layers"] == ["first"]
    assert "no kernel that importance 'activation' can score makes or reads its units" in told["heads"]


def test_the_scale_of_a_normalization_can_choose(small_log: Splits) -> None:
    model = STYLES["normalized"](small_log.schema)
    gamma = np.float32([0.0, 1.0] * 8)
    norm = model.get_layer("norm")
    norm.set_weights([gamma, *norm.get_weights()[1:]])
    rows = dict(zip(model.input_names, _named_rows(small_log), strict=True))
    after = PruneUnits(0.5, importance="batchnorm", epochs=0).apply(Candidate(model, small_log.schema), small_log, 0)
    assert after.model.get_layer("first").units == 8 and after.model.get_layer("second").units == 12
    np.testing.assert_allclose(keras_scores(after.model, rows), keras_scores(model, rows), atol=1e-6)


def _named_rows(data: Splits) -> list[np.ndarray]:
    packed = first_rows(data.validation.inputs, 30)
    return [*(packed["ids"][:, [number]] for number in range(3)), packed["numeric"]]


def test_what_constant_units_gave_goes_into_the_biases(trained_mlp: Any, clicks: Splits) -> None:
    model = inlined(trained_mlp)
    copied = keras.models.clone_model(model)
    copied.set_weights(model.get_weights())
    kernel, bias = copied.get_layer("dense_1").get_weights()
    kernel[:, ::2], bias[::2] = 0.0, 1.5  # every other unit gives 1.5 whatever it reads
    copied.get_layer("dense_1").set_weights([kernel, bias])
    rows = first_rows(clicks.validation.inputs, 50)
    gaps = []
    for compensate in (True, False):
        step = PruneUnits(0.5, keep=("dense_0",), epochs=0, compensate=compensate)
        after = step.apply(Candidate(copied, clicks.schema), clicks, seed=0)
        gaps.append(np.abs(keras_scores(after.model, rows) - keras_scores(copied, rows)).max())
    assert gaps[0] < 1e-5 < gaps[1]


def test_zeros_of_an_earlier_prune_survive_the_fine_tuning(
    candidate: Callable[[str], Candidate], brief: Splits
) -> None:
    pruned = Prune(0.7).apply(candidate("mlp"), brief, seed=0)
    after = PruneUnits(0.5).apply(pruned, brief, seed=0)
    kernel = after.model.get_layer("dense_1").get_weights()[0]
    assert kernel.shape == (32, 16) and 0.3 < (kernel == 0).mean() < 0.8
    again = PruneUnits(0.5, epochs=0).apply(pruned, brief, seed=0).model.get_layer("dense_1").get_weights()[0]
    np.testing.assert_array_equal(kernel == 0, again == 0)
    assert not np.array_equal(kernel, again)


def test_a_plan_with_it_survives_json() -> None:
    plan = chain(PruneUnits(0.25, importance="taylor", keep=("dense_0",)))
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"share": 1.0}, "share"),
        ({"share": 0.0}, "share"),
        ({"multiplies": 1.5}, "multiplies"),
        ({"multiplies": "a"}, "multiplies"),
        ({"scope": "everywhere"}, "scope"),
        ({"importance": "luck"}, "importance"),
        ({"minimum": 0}, "minimum"),
    ],
)
def test_settings_out_of_range_are_refused(change: dict[str, Any], named: str) -> None:
    with pytest.raises(PlanError, match=f"{named} is"):
        PruneUnits(**change)


def test_a_share_beside_a_budget_is_refused() -> None:
    with pytest.raises(PlanError, match=r"share=0.3 and multiplies=0.2.*Fix: PruneUnits\(multiplies=0.2\) alone"):
        PruneUnits(0.3, multiplies=0.2)


def test_a_layer_to_keep_may_be_named_alone() -> None:
    assert PruneUnits(keep="dense_0") == PruneUnits(keep=("dense_0",))


def test_every_group_of_a_mixture_is_found(richest: Named) -> None:
    """Ranks and experts of a mixture cross, which nothing but a rule of ours can tell apart."""
    model, _ = richest("dcn_mix")
    trace = follow(model)
    found = {(group.kind, len(group.atoms)) for group in groups(trace.ledger) if "cross_0_reduced" in group.owners}
    assert found == {("unit", 4), ("expert", 2)}


def test_ranks_of_factored_crosses_go(trained_dcn: Any, clicks: Splits) -> None:
    """A matrix cross keeps its width, which is that of the tables; what LowRank put between its factors does not."""
    factored = LowRank(rank={"cross_0_kernel": 12}, epochs=0).apply(Candidate(trained_dcn, clicks.schema), clicks, 0)
    after = PruneUnits(0.5, epochs=0).apply(factored, clicks, 0)
    inner = next(layer for layer in factored.model.layers if getattr(layer, "units", 0) == 12)
    assert after.model.get_layer(inner.name).units == 6
    assert count_multiplies(convert(after.model, "float32")) < count_multiplies(convert(factored.model, "float32"))
