"""A setting that nothing would read is refused where it is given, and plans go on surviving JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tfshop._keras import keras
from tfshop.compression import Distill, DropFeatures, Equalize, LowRank, Prune, PruneUnits
from tfshop.compression.thresholds import Threshold
from tfshop.errors import PlanError
from tfshop.export import Export, Plan, chain
from tfshop.export.settings import Precision
from tfshop.probing import techniques_of

BELOW = Threshold("max", 0.1)
NOW = {"schedule": "one_shot", "epochs": 0}


def given_model() -> Any:
    """Some functional model."""
    ids = keras.Input((3,), dtype="int32", name="ids")
    rows = keras.layers.Flatten()(keras.layers.Embedding(10, 2)(ids))
    return keras.Model(ids, keras.layers.Dense(1, activation="sigmoid")(rows))


@pytest.mark.parametrize(
    ("make", "setting", "fix"),
    [
        (lambda: Prune(0.9, threshold=BELOW), "sparsity=0.9", "one of the two"),
        (lambda: Prune(0.9, tolerance=0.01), "tolerance=0.01", "schedule='adaptive'"),
        (lambda: Prune(0.9, "constant", tolerance=0.01), "tolerance=0.01", "schedule='adaptive'"),
        (lambda: Prune(0.9, **NOW, learning_rate=0.1), "learning_rate=0.1", "epochs=1"),
        (lambda: Prune(0.9, **NOW, distill=False), "distill=False", "epochs=1"),
        (lambda: PruneUnits(epochs=0, learning_rate=0.1), "learning_rate=0.1", "epochs=1"),
        (lambda: PruneUnits(importance="batchnorm", readers=False), "readers=False", "another importance"),
        (lambda: DropFeatures(("hour",), max_auc_drop=0.1), "max_auc_drop=0.1", "names=None"),
        (lambda: DropFeatures(("hour",), how="unknown"), "how='unknown'", "names=None"),
        (lambda: DropFeatures(epochs=0, distill=False), "distill=False", "epochs=1"),
        (lambda: LowRank(epochs=0, learning_rate=0.1), "learning_rate=0.1", "epochs=1"),
        (lambda: Equalize(layers=False, by="weights"), "by='weights'", "layers=True"),
        (lambda: Distill(hint_weight=1.0), "hint_weight=1.0", "hints='last hidden'"),
        (lambda: Distill(weight=0, temperature=2.0), "temperature=2.0", "weight=0.9"),
        (lambda: Distill(weight=0, cache="scores"), "cache='scores'", "weight=0.9"),
        (lambda: Distill(averages="probabilities"), "averages='probabilities'", "teachers="),
        (lambda: Distill("student.keras", family="mlp"), "family='mlp'", "hyperparameters"),
        (lambda: Distill(given_model(), family="mlp"), "family='mlp'", "hyperparameters"),
        (lambda: Export("int8", percentile=99.0), "percentile=99.0", "ranges='percentile'"),
        (lambda: Export("int8", ranges="mse", percentile=99.0), "percentile=99.0", "ranges='percentile'"),
        (lambda: Export("float32", percentile=99.0), "percentile=99.0", "ranges='percentile'"),
        (lambda: Precision(percentile=99.0), "percentile=99.0", "ranges='percentile'"),
    ],
)
def test_what_nothing_would_read_is_refused(make: Callable[[], Any], setting: str, fix: str) -> None:
    with pytest.raises(PlanError) as caught:
        make()
    assert f"{setting}, which would do nothing" in str(caught.value)
    assert f"Fix: {fix}" in str(caught.value)


@pytest.mark.parametrize("mode", ["float32", "float16", "dynamic", "int16x8"])
@pytest.mark.parametrize(
    "settings",
    [{"ranges": "mse"}, {"bias_correction": True}, {"keep_float": ("dense_0",)}, {"mixed": {"max_change": 0.1}}],
    ids=str,
)
def test_modes_without_ranges_refuse_what_is_about_them(mode: str, settings: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=rf"Export\('{mode}'\) was given ranges, .*Fix:"):
        Export(mode, **settings)


@pytest.mark.parametrize(
    "step",
    [
        Prune(threshold=BELOW),
        Prune(0.9, "adaptive", tolerance=0.01),
        Prune(0.9, **NOW),
        PruneUnits(epochs=0, compensate=False),
        PruneUnits(importance="batchnorm"),
        PruneUnits(readers=False),
        DropFeatures(("hour",)),
        DropFeatures(max_auc_drop=1e-3, how="unknown"),
        LowRank(epochs=0, whiten=False),
        Equalize(layers=False),
        Equalize(inputs=False, by="weights"),
        Distill(hints="last hidden", hint_weight=1.0),
        Distill(weight=0),
        Distill(teachers=("other.keras",), averages="probabilities", temperature=2.0),
        Distill("student.keras"),
        Distill(family="mlp"),
    ],
    ids=lambda step: str(chain(step)),
)
def test_what_is_read_is_taken_and_survives_json(step: Any) -> None:
    plan = chain(step, Export("int8", ranges="percentile", percentile=99.0))
    assert Plan.from_json(plan.to_json()) == plan
    assert Plan.from_json(chain(step).to_json()) == chain(step)


@pytest.mark.parametrize(
    ("step", "setting"),
    [
        (Export("int8", mixed={"max_change": 0.1}), "mixed="),
        (Export("int8", bias_correction=True), "bias_correction=True"),
    ],
)
def test_sensitivity_refuses_what_says_nothing_of_one_layer(step: Any, setting: str) -> None:
    for asked in (step, [step], chain(Prune(0.5), step)):
        with pytest.raises(PlanError, match=rf"sensitivity cannot honour Export\({setting}.*Fix: leave"):
            techniques_of(asked)
