"""What every pass in `PASSES` has to do, to a network of each kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import first_rows, keras_scores, same_weights

from tfshop._keras import keras
from tfshop.compression import (
    PASSES,
    QAT,
    AllocateTables,
    Candidate,
    Cluster,
    Distill,
    DropFeatures,
    EncodeTables,
    Equalize,
    LowRank,
    Pass,
    Prune,
    PruneUnits,
    TuneTables,
)
from tfshop.data import Splits
from tfshop.errors import PlanError
from tfshop.export import Export, convert
from tfshop.runtime import Scorer, read_graph

from .in_the_file import SHOWN, only_scaled

QUICK: dict[str, Pass] = {
    "Prune": Prune(0.5),
    "Equalize": Equalize(),
    "Cluster": Cluster(8),
    "LowRank": LowRank(rank=3),
    "EncodeTables": EncodeTables("Int8"),
    "AllocateTables": AllocateTables(max_bytes=1_500, rows=500, measured=1, lookup_bytes=0),
    "TuneTables": TuneTables("Int4", epochs=1),
    "QAT": QAT(),
    "Distill": Distill({"dimension": 4, "hidden": (16,)}, epochs=1),
    "PruneUnits": PruneUnits(0.5),
    "DropFeatures": DropFeatures(("id_2",)),
}
WITHOUT_TRAINING = ("LowRank", "PruneUnits", "DropFeatures")  # 0 epochs are allowed
UNTRAINED = ("Equalize", "EncodeTables", "AllocateTables")
NEEDED: dict[str, dict[str, Any]] = {"AllocateTables": {"max_bytes": 1_500}}  # it has no usual budget


@dataclass
class Applied:
    """A pass between two candidates."""

    before: Candidate
    weights_before: list[np.ndarray]
    data: Splits
    step: Pass
    after: Candidate


@pytest.fixture(scope="module")
def applied(
    candidate: Callable[[str], Candidate], brief: Splits, crosses: Candidate, ids_alone: Splits
) -> Callable[[str, str], Applied]:
    """Each pass once on each network; what need not train does so on the perceptron, of features of every kind."""
    starts = {"mlp": (candidate("mlp"), brief), "dcn": (crosses, ids_alone)}

    @cache
    def once(name: str, network: str) -> Applied:
        (before, data), step = starts[network], QUICK[name]
        weights = before.model.get_weights()
        if name in WITHOUT_TRAINING and network != "mlp":
            step = replace(step, epochs=0)  # type: ignore[type-var]
        return Applied(before, weights, data, step, step.apply(before, data, seed=4))

    return once


@pytest.fixture(scope="module")
def file_of(applied: Callable[[str, str], Applied]) -> Callable[[str, str], bytes]:
    """The file of what a pass made: in int8 after QAT, which is for that, else in floats."""

    @cache
    def once(name: str, network: str) -> bytes:
        step = applied(name, network)
        model = step.after.model
        return Export("int8", 256).to_bytes(model, step.data) if name == "QAT" else convert(model, "float32")

    return once


@pytest.fixture(scope="module")
def file_before(applied: Callable[[str, str], Applied]) -> Callable[[str], bytes]:
    """The file of a network that nothing was done to."""
    return cache(lambda network: convert(applied("Equalize", network).before.model, "float32"))


each_pass = pytest.mark.parametrize("name", PASSES)
each_network = pytest.mark.parametrize("network", ["mlp", "dcn"])  # factorization machines: test_orders.py


def test_every_pass_is_tested_here() -> None:
    assert set(QUICK) == set(PASSES) == {*SHOWN, "Equalize"}
    assert all(PASSES[name] is type(QUICK[name]) and QUICK[name].name == name for name in PASSES)


@each_pass
@each_network
def test_the_model_that_came_in_is_untouched(name: str, network: str, applied: Callable[[str, str], Applied]) -> None:
    step = applied(name, network)
    assert same_weights(step.before.model, step.weights_before)
    assert step.after.model is not step.before.model and step.before.history == ()
    shared = {id(w) for w in step.before.model.weights} & {id(w) for w in step.after.model.weights}
    assert not shared


@each_pass
@each_network
def test_what_the_pass_is_for_is_in_the_bytes(
    name: str,
    network: str,
    applied: Callable[[str, str], Applied],
    file_of: Callable[[str, str], bytes],
    file_before: Callable[[str], bytes],
) -> None:
    """Zeros, few numbers, narrow kernels and the like, which no fine-tuning makes: the file from before has none."""
    step = applied(name, network)
    before, after = read_graph(file_before(network)), read_graph(file_of(name, network))
    assert np.isfinite(np.concatenate([weight.ravel() for weight in step.after.model.get_weights()])).all()
    if name == "Equalize":
        assert only_scaled(before, after) and not only_scaled(before, before)
        return
    assert SHOWN[name](after, step.after)
    assert not SHOWN[name](before, step.before)


@each_pass
@each_network
def test_inputs_and_outputs_keep_their_names(name: str, network: str, applied: Callable[[str, str], Applied]) -> None:
    step = applied(name, network)
    before, after = step.before.model, step.after.model
    assert {t.name: (t.shape.as_list(), t.dtype) for t in after.inputs} == {
        t.name: (t.shape.as_list(), t.dtype) for t in before.inputs
    }
    assert after.output_names == ["probability"] and after.name == network
    assert after.get_layer("logit").output.shape.as_list() == [None, 1]


@each_pass
@each_network
def test_no_wrapper_of_tf_mot_is_left(
    name: str, network: str, applied: Callable[[str, str], Applied], tmp_path: Path
) -> None:
    """And what is left loads without custom objects."""
    step = applied(name, network)
    model = step.after.model
    layers = list(model._flatten_layers())
    assert [type(layer) for layer in layers if "tensorflow_model_optimization" in type(layer).__module__] == []
    assert not any(
        word in weight.name for weight in model.weights for word in ("mask", "quant", "threshold", "min", "max")
    )
    model.save(tmp_path / "model.keras")
    rows = first_rows(step.data.validation.inputs, 30)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(keras_scores(loaded, rows), keras_scores(model, rows), atol=1e-6)


@each_pass
def test_the_result_still_converts_to_the_same_scores(
    name: str, applied: Callable[[str, str], Applied], file_of: Callable[[str, str], bytes]
) -> None:
    step, content = applied(name, "dcn"), file_of(name, "dcn")
    assert read_graph(content).custom_operators == ()
    rows = first_rows(step.data.validation.inputs, 100)
    tolerance = 2e-2 if name == "QAT" else 1e-5  # a float sum on the edge of a level may fall on either side
    np.testing.assert_allclose(Scorer(content)(rows), keras_scores(step.after.model, rows), atol=tolerance)


@each_pass
@each_network
def test_the_history_has_one_more_record_that_survives_json(
    name: str, network: str, applied: Callable[[str, str], Applied]
) -> None:
    step = applied(name, network)
    (record,) = step.after.history
    told = json.loads(json.dumps(record.to_dict(), allow_nan=False))
    assert told["name"] == name
    assert PASSES[name](**told["settings"]).check(step.before.model, step.before.schema) is None
    assert set(told["settings"]) == {field.name for field in fields(QUICK[name])}
    if not getattr(step.step, "epochs", 0):
        assert told["curve"] == []
        return
    assert len(told["notes"]["fit"]["epochs"]) == 1 and told["curve"]
    assert all(0 < row["loss"] < 1 for row in told["curve"])
    least = 0.0 if name == "Distill" else 0.7  # a student has seen four batches
    assert least < told["curve"][-1]["validation_auc"] < 1


@each_pass
def test_the_same_seed_gives_the_same_weights(name: str, applied: Callable[[str, str], Applied]) -> None:
    step = applied(name, "mlp")
    again = QUICK[name].apply(step.before, step.data, seed=4)
    assert same_weights(step.after.model, again.model)


def test_another_seed_gives_another_student(applied: Callable[[str, str], Applied]) -> None:
    step = applied("Distill", "mlp")
    assert not same_weights(step.after.model, QUICK["Distill"].apply(step.before, step.data, seed=5).model)


@each_pass
def test_a_network_it_cannot_treat_is_refused_before_training(name: str, linear: Any, clicks: Splits) -> None:
    if name in {"EncodeTables", "AllocateTables", "TuneTables"}:  # they can treat the table
        linear = EncodeTables("Int8").apply(Candidate(linear, clicks.schema), clicks, seed=0).model
    if name == "DropFeatures":  # it can put a constant into the mean, but what is picked by position stays there
        ids = keras.Input((3,), dtype="int32", name="ids")
        picked = keras.layers.Embedding(200, 1, name="weights")(ids[:, 2])
        linear = keras.Model(ids, keras.layers.Activation("sigmoid", name="probability")(picked), name="linear")
    weights = linear.get_weights()
    with pytest.raises(PlanError, match=rf"{name}.*'linear'.*Fix:"):
        QUICK[name].check(linear, clicks.schema)
    assert same_weights(linear, weights)


@each_pass
@pytest.mark.parametrize("change", [{"epochs": 0}, {"learning_rate": -1.0}])
def test_training_settings_out_of_range_are_refused_at_construction(name: str, change: dict[str, Any]) -> None:
    if name in UNTRAINED:
        pytest.skip("it does not train")
    if name in WITHOUT_TRAINING:
        change = {setting: min(value, -1) for setting, value in change.items()}
    with pytest.raises(PlanError, match=f"{next(iter(change))} is.*Fix:"):
        PASSES[name](**change)


@each_pass
def test_a_pass_is_frozen_and_equal_by_value(name: str) -> None:
    made = PASSES[name](**NEEDED.get(name, {}))
    assert made == PASSES[name](**NEEDED.get(name, {}))
    with pytest.raises(AttributeError):
        made.epochs = 3
