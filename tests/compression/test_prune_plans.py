"""Plans of pruning are plain data, and what cannot be is refused before training."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tfshop.compression import Candidate, Prune, Threshold
from tfshop.data import Splits
from tfshop.errors import PlanError
from tfshop.export import Export, Plan, chain

NOW = {"schedule": "one_shot", "epochs": 0}


PLANS = [
    Prune(0.8),
    Prune(0.75, pattern="1:4", schedule="constant"),
    Prune(0.9, "adaptive", importance="taylor", tolerance=0.002, scope="global", layers={"dense_1": 0.1}),
    Prune(threshold=Threshold("mean", 0.5), l1=1e-5, group_lasso=1e-6, randomness=0.2, pattern="block 4x4"),
]


@pytest.mark.parametrize("step", PLANS)
def test_a_plan_comes_back_from_json(step: Prune) -> None:
    plan = chain(step, Export("int8"))
    assert Plan.from_json(plan.to_json()) == plan
    assert eval(str(plan), {"chain": chain, "Prune": Prune, "Threshold": Threshold, "Export": Export}) == plan  # noqa: S307


def test_a_plan_with_a_function_runs_and_is_told_of_but_is_no_json(
    candidate: Callable[[str], Candidate], brief: Splits
) -> None:
    def squares(kernel: np.ndarray, moments: Any) -> np.ndarray:
        return kernel**2

    plan = chain(Prune(0.5, importance=squares, **NOW))
    for write in (plan.to_json, plan.to_dict):
        with pytest.raises(
            PlanError, match=r"Prune\(importance=.*squares\) is a function, which JSON cannot hold.*Fix:"
        ):
            write()
    told = plan.to_dict(functions_by_name=True)
    assert told["passes"][0]["importance"].endswith("squares") and json.dumps(told)
    record = plan.passes[0].apply(candidate("mlp"), brief, seed=0).history[-1]
    assert json.loads(json.dumps(record.to_dict()))["settings"]["importance"].endswith("squares")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scope": "model"}, "scope is 'model'. Expected one of local, global"),
        ({"importance": "size"}, "importance is 'size'"),
        ({"pattern": "4x4"}, "pattern is '4x4'"),
        ({"threshold": 0.5}, "threshold is 0.5"),
        ({"layers": {"dense_1": 1.0}}, "layers['dense_1'] is 1.0"),
        ({"randomness": -1.0}, "randomness is -1.0. Expected a number of at least 0"),
        ({"l1": float("inf")}, "l1 is inf"),
        ({"tolerance": "small"}, "tolerance is 'small'"),
        ({"sparsity": 0.8, "pattern": "2:4"}, "pattern '2:4' makes 0.5 zeros, but sparsity is 0.8"),
        ({"layers": {"dense_1": 0.3}, "pattern": "2:4"}, "pattern '2:4' makes 0.5 zeros, but sparsity is 0.3"),
        ({"scope": "global", "pattern": "2:4"}, "pattern '2:4' says itself how much goes"),
        ({"schedule": "adaptive", "pattern": "2:4"}, "pattern '2:4' says itself how much goes"),
        ({"schedule": "one_shot", "epochs": 0, "l1": 0.1}, "Prune(epochs=0) trains nothing"),
        ({"schedule": "constant", "epochs": 0}, "epochs is 0"),
    ],
)
def test_settings_that_cannot_be_are_refused_at_construction(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=re.escape(message)):
        Prune(**settings)


def test_overrides_of_nothing_are_refused_before_training(trained_mlp: Any, clicks: Splits) -> None:
    with pytest.raises(PlanError, match=r"Prune\(layers=…\) names 'dense_7'.*Expected some of dense_0, .*Fix:"):
        Prune(layers={"dense_7": 0.3}).check(trained_mlp, clicks.schema)
    with pytest.raises(PlanError, match=r"names 'numeric_transform'"):
        Prune(layers={"numeric_transform": 0.3}).check(trained_mlp, clicks.schema)


def test_where_nothing_is_left_to_prune_it_says_why(trained_mlp: Any, clicks: Splits) -> None:
    with pytest.raises(PlanError, match=r"no layer to prune with role table in 'mlp'.*'table'.*moments.*Fix:"):
        Prune(roles=("table",), importance="activation").check(trained_mlp, clicks.schema)
