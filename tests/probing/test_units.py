"""Units are measured as PruneUnits takes them: from all layers that make them, or not at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from networks import spread

from tfshop._keras import keras
from tfshop.compression import Candidate, PruneUnits
from tfshop.data import Splits
from tfshop.models import build_model
from tfshop.models.rebuild import inlined
from tfshop.probing import sensitivity
from tfshop.probing.units import Units

from .conftest import run_in_full

HALF = {"minimum": 1, "epochs": 0}
MADE_TOGETHER = {
    "mlp": ("dense_0", {"dense_0_numeric"}),
    "autoint": ("attention_0_query", {"attention_0_key", "attention_0_value", "attention_0_residual"}),
    "dcn_mix": ("cross_0_reduced", {"cross_0_gate"}),
    "xdeepfm": ("cross_0_kernel", set()),
}


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


@pytest.mark.parametrize("name", MADE_TOGETHER)
def test_what_layers_make_together_goes_from_all_of_them(name: str, clicks: Splits) -> None:
    """Neurons of two summands, heads, experts and their ranks, maps: scores and savings of the smaller network."""
    keras.utils.set_random_seed(0)
    model = inlined(build_model(name, clicks.schema, dimension=4, hidden=(16, 8)))
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


def test_more_heads_than_there_are_cannot_go(clicks: Splits) -> None:
    model = build_model("autoint", clicks.schema, dimension=4, hidden=(16, 8))
    found = sensitivity(model, clicks, Units((0.1, 0.5, 0.75)), rows=200)
    tried = [trial.strength for trial in found.trials if trial.layer == "attention_0_query"]
    assert tried == [0.5]  # of two heads: a tenth is none, three quarters are both


def change_of_logits(model: Any, smaller: Any, data: Splits) -> float:
    before, after = (logits(run_in_full(one, data.validation, {})) for one in (model, smaller))
    return float(np.sqrt(np.mean(np.square(after - before))))


def logits(scores: np.ndarray) -> np.ndarray:
    return np.log(scores.astype(np.float64) / (1 - scores.astype(np.float64)))
