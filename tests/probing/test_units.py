"""Units are measured as PruneUnits takes them: from all layers that make them, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign.styles import STYLES
from networks import spread

from tfshop._keras import keras
from tfshop.compression import Candidate, LowRank, PruneUnits
from tfshop.data import Splits
from tfshop.errors import PlanError
from tfshop.models import build_model
from tfshop.models.rebuild import inlined
from tfshop.probing import sensitivity
from tfshop.probing.techniques import techniques_of
from tfshop.probing.units import Units

from .conftest import run_in_full

HALF = {"minimum": 1, "epochs": 0}
MADE_TOGETHER = {
    "mlp": ("dense_0", {"dense_0_numeric"}),
    "autoint": ("attention_0_query", {"attention_0_key", "attention_0_value", "attention_0_residual"}),
    "dcn_mix": ("cross_0_reduced", {"cross_0_gate"}),
    "xdeepfm": ("cross_0_kernel", set()),
}
LEVELS = {"autoint": {"num_layers": 2}, "dcn_mix": {"num_crosses": 2}}  # one that is read by its like is enough


@pytest.mark.parametrize("readers", [True, False])
def test_units_that_go_are_those_of_the_pass(trained_mlp: Any, clicks: Splits, readers: bool) -> None:
    """The change of the logits is that of the network that PruneUnits leaves, where it may take from one layer."""
    layer = "dense_1"
    others = tuple(one.name for one in trained_mlp.layers if one.name != layer)
    step = PruneUnits(0.5, keep=others, readers=readers, compensate=False, **HALF)
    smaller = step.apply(Candidate(trained_mlp, clicks.schema), clicks, seed=0).model
    assert smaller.get_layer(layer).units == trained_mlp.get_layer(layer).units // 2
    found = sensitivity(trained_mlp, clicks, Units((0.5,), readers=readers, compensate=False))
    (trial,) = (trial for trial in found.trials if trial.layer == layer)
    assert trial.logit_error == pytest.approx(change_of_logits(trained_mlp, smaller, clicks), rel=1e-3)


@pytest.mark.parametrize("style", ["normalized", "shared_layers", "interactions", "nested"])
@pytest.mark.parametrize("compensate", [True, False])
def test_units_of_others_go_as_the_pass_takes_them(style: str, compensate: bool, foreign_log: Splits) -> None:
    """Behind BatchNormalization and PReLU the mean of a unit is no mean of what is read."""
    keras.utils.set_random_seed(0)
    model = inlined(STYLES[style](foreign_log.schema))
    spread(model)
    assert_as_the_pass(model, foreign_log, PruneUnits(0.5, compensate=compensate, minimum=2, epochs=0))


def test_units_that_a_kernel_without_biases_reads_take_their_mean_along(clicks: Splits) -> None:
    model = build_model("mlp", clicks.schema, dimension=4, hidden=(16, 8))
    spread(model)
    factored = LowRank(rank=3, epochs=0).apply(Candidate(model, clicks.schema), clicks, seed=0).model
    assert_as_the_pass(factored, clicks, PruneUnits(0.5, minimum=2, epochs=0))


def assert_as_the_pass(model: Any, data: Splits, step: PruneUnits) -> None:
    """Each layer loses what it loses in the network that the pass leaves where it may take from that one alone."""
    found = sensitivity(model, data, step, roles=("dense", "cross", "other"))
    together = step.apply(Candidate(model, data.schema), data, seed=0).history[-1].notes["groups"]
    before = logits(model, data)
    assert len(found.trials) == len(together) > 0
    for trial in found.trials:
        owners = {one for group in together if trial.layer in group["layers"] for one in group["layers"]}
        alone = replace(step, keep=tuple(one.name for one in model.layers if one.name not in owners))
        smaller = alone.apply(Candidate(model, data.schema), data, seed=0).model
        change = distance(logits(smaller, data), before)
        assert trial.logit_error == pytest.approx(change, rel=2e-3, abs=1e-5), trial


@pytest.mark.parametrize("name", MADE_TOGETHER)
def test_what_layers_make_together_goes_from_all_of_them(name: str, clicks: Splits) -> None:
    """Neurons of two summands, heads, experts and their ranks, maps: scores and savings of the smaller network."""
    keras.utils.set_random_seed(0)
    model = inlined(build_model(name, clicks.schema, dimension=4, hidden=(16, 8), **LEVELS.get(name, {})))
    spread(model)
    layer, with_it = MADE_TOGETHER[name]
    others = tuple(one.name for one in model.layers if one.name not in {layer, *with_it})
    after = PruneUnits(0.5, keep=others, **HALF).apply(Candidate(model, clicks.schema), clicks, seed=0)
    notes = after.history[-1].notes
    found = sensitivity(model, clicks, Units((0.5,)), roles=("dense", "cross", "other"))
    (trial,) = (trial for trial in found.trials if trial.layer == layer)
    assert trial.logit_error == pytest.approx(change_of_logits(model, after.model, clicks), rel=1e-3)
    assert trial.logit_error > 1e-3
    assert trial.bytes_saved == 4 * (notes["parameters"][0] - notes["parameters"][1]) > 0
    assert trial.multiplies_saved == notes["multiplications"][0] - notes["multiplications"][1] > 0
    reasons = {row["layer"]: row["reason"] for row in found.left_alone}
    assert {reasons[one] for one in with_it} <= {f"its units go with those of {layer!r}"}


def test_layers_whose_units_all_stay_are_left_alone(trained_dcn: Any, clicks: Splits) -> None:
    """A cross gives back what it reads, whose width is that of the tables."""
    found = sensitivity(trained_dcn, clicks, Units((0.5,)))
    assert found.layers == ["dense_0", "dense_1"]
    reasons = {row["layer"]: row["reason"] for row in found.left_alone}
    assert "output of the network" in reasons["logit"]
    assert "width of its table stays" in reasons["cross_0_kernel"]


def test_as_few_stay_as_the_pass_leaves(clicks: Splits) -> None:
    """One of two heads, and four of eight units."""
    model = build_model("autoint", clicks.schema, dimension=4, hidden=(16, 8), num_layers=1)
    usual = Units((0.1, 0.5, 0.75))
    (least,) = techniques_of(PruneUnits(0.75, minimum=1))
    trials = sensitivity(model, clicks, [usual, least], rows=200).trials
    saved = {(trial.layer, trial.strength): trial.bytes_saved for trial in trials if trial.technique == usual.name}
    assert ("attention_0_query", 0.1) not in saved
    assert saved["attention_0_query", 0.75] == saved["attention_0_query", 0.5]
    assert saved["dense_1", 0.75] == saved["dense_1", 0.5]
    (fewer,) = (trial for trial in trials if (trial.technique, trial.layer) == (least.name, "dense_1"))
    assert fewer.bytes_saved > saved["dense_1", 0.75]


def test_functions_are_told_apart_and_measured_anew(trained_mlp: Any, clicks: Splits, tmp_path: Path) -> None:
    def judged(power: float) -> Callable[..., np.ndarray]:
        def judge(weights: Any, *_: Any, **__: Any) -> np.ndarray:
            return np.abs(np.asarray(weights)) ** power

        return judge

    with pytest.raises(PlanError, match="two functions of one name"):
        techniques_of([Units((0.5,), judged(1.0)), Units((0.25,), judged(-1.0))])
    told = Units((0.5,), partial(judged(1.0))).name
    assert told == "PruneUnits (partial)"
    errors = [
        next(
            t.logit_error for t in sensitivity(trained_mlp, clicks, one, folder=tmp_path).trials if t.layer == "dense_1"
        )
        for one in (Units((0.5,), judged(1.0)), Units((0.5,), judged(-1.0)))
    ]
    assert errors[0] < errors[1]


def change_of_logits(model: Any, smaller: Any, data: Splits) -> float:
    return distance(logits(smaller, data), logits(model, data))


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(one - other))))


def logits(model: Any, data: Splits) -> np.ndarray:
    scores = run_in_full(model, data.validation, {}).astype(np.float64)
    return np.log(scores / (1 - scores))
