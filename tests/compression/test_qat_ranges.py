"""Every int8 tensor of a file has the range that was trained, and nothing else has one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from helpers import keras_scores
from levels import int8_activations, is_trained, trained_levels
from networks import needs, spread

from tfshop._keras import keras
from tfshop.compression import QAT, Candidate
from tfshop.compression._operators import operators_of
from tfshop.compression._range_calibration import observed_ranges
from tfshop.compression._range_places import range_places
from tfshop.compression._rounded_model import activations_apart
from tfshop.compression.roles import layers_with, unwrapped
from tfshop.compression.rounded_tensors import with_activations_apart
from tfshop.data import Splits
from tfshop.export import Export
from tfshop.layers.experts import ExpertKernels
from tfshop.models import build_model
from tfshop.runtime import Scorer, read_graph
from tfshop.runtime.graph import Graph

layers = keras.layers
NETWORKS = ("deepfm", "gdcn", "dcn_mix")  # sums of products, crosses, gates, experts behind a softmax


def trained_with_rounding(model: Any, data: Splits, step: QAT | None = None) -> tuple[Candidate, Graph, bytes]:
    """A candidate after a few steps of QAT, and its int8 file."""
    short = replace(data, train=data.train.take(768))
    candidate = (step or QAT()).apply(Candidate(model, data.schema), short, seed=0)
    content = Export("int8", calibration_rows=512).to_bytes(candidate.model, data)
    return candidate, read_graph(content), content


@pytest.fixture(scope="module")
def ours(clicks: Splits, dense_clicks: Splits) -> Callable[[str], tuple[Candidate, Graph, bytes]]:
    """Each network of ours once, trained with rounding; one of them reads numbers and a history too."""

    @cache
    def once(name: str) -> tuple[Candidate, Graph, bytes]:
        data = clicks if name == "deepfm" else dense_clicks
        model = build_model(name, data.schema, **needs(name).settings)
        spread(model)
        return trained_with_rounding(model, data)

    return once


@pytest.mark.parametrize("name", NETWORKS)
def test_every_int8_tensor_has_the_scale_and_zero_point_of_a_trained_range(
    name: str, ours: Callable[[str], tuple[Candidate, Graph, bytes]]
) -> None:
    candidate, graph, _ = ours(name)
    levels = trained_levels(candidate.model)
    tensors = list(int8_activations(graph))
    assert [tensor.name for tensor in tensors if not is_trained(tensor, levels)] == []
    for layer, level in levels.items():
        assert any(is_trained(tensor, {layer: level}) for tensor in tensors), f"{layer} was trained for nothing"


def test_kernels_of_experts_train_with_rounding(ours: Callable[[str], tuple[Candidate, Graph, bytes]]) -> None:
    candidate, *_ = ours("dcn_mix")
    notes = candidate.history[-1].notes
    wanted = {layer.name for layer in candidate.model.layers if isinstance(unwrapped(layer), ExpertKernels)}
    assert wanted and wanted <= set(notes["layers"])
    assert not wanted & {row["layer"] for row in notes["left_alone"]}


def one_dense_network(behind: Any, width: int = 10) -> Any:
    """Ids, a table, a layer under test between two Dense layers, a head."""
    ids = keras.Input((3,), dtype="int32", name="ids")
    fields = layers.Embedding(110, 4, name="table")(ids)
    hidden = layers.Dense(width, name="first")(layers.Flatten(name="flat")(fields))
    hidden = layers.Dense(9, activation="relu", name="second")(behind(hidden))
    model = keras.Model(ids, layers.Dense(1, activation="sigmoid", name="probability")(hidden))
    spread(model)
    return model


def arithmetic(x: Any) -> Any:
    """Every product and sum of two tensors that Keras has, side by side."""
    pair = [x, layers.Dense(10, name="other")(x)]
    kinds = (layers.Multiply, layers.Subtract, layers.Add, layers.Average)
    parts = [kind(name=f"tested_{kind.__name__}")(pair) for kind in kinds]
    parts = [layers.LeakyReLU(0.5, name=f"leaky_{number}")(part) for number, part in enumerate(parts)]
    return layers.Concatenate(name="tested")([layers.Dot(axes=1, name="dot")(pair), *parts])


def product(x: Any) -> Any:
    """Of two Dense layers."""
    return layers.Multiply(name="tested")([x, layers.Dense(10, name="other")(x)])


def gates(x: Any) -> Any:
    """Operators with one possible range, one of them inside a Dense layer."""
    gated = layers.Multiply(name="product")([x, layers.Dense(10, "sigmoid", name="other")(x)])
    return layers.Softmax(name="tested")(layers.Activation("tanh", name="tanh")(gated))


def normalized(x: Any) -> Any:
    """LayerNormalization, between products."""
    return layers.LayerNormalization(name="tested")(x)


def lone_normalization(x: Any) -> Any:
    """PReLU, and a BatchNormalization that no kernel can be folded into."""
    return layers.BatchNormalization(name="tested")(layers.PReLU(name="prelu")(x))


BEHIND = (arithmetic, gates, normalized, lone_normalization)
INSIDE = {lone_normalization: "tested/batchnorm/mul", normalized: "tested/"}  # the exporter measures these


@pytest.fixture(scope="module")
def shipped(dense_clicks: Splits) -> Callable[[Any], tuple[Candidate, Graph, bytes]]:
    """Each network once, trained with rounding."""
    return cache(lambda behind: trained_with_rounding(one_dense_network(behind), dense_clicks))


@pytest.mark.parametrize("behind", BEHIND)
def test_a_layer_of_any_kind_is_shipped_as_it_was_trained(
    behind: Any, shipped: Callable[[Any], tuple[Candidate, Graph, bytes]], dense_clicks: Splits
) -> None:
    candidate, graph, content = shipped(behind)
    levels = trained_levels(candidate.model)
    assert {"tested", "tested_range"} & set(levels), "its output has a range"
    for layer, level in levels.items():
        assert any(is_trained(tensor, {layer: level}) for tensor in int8_activations(graph)), layer
    others = [tensor.name for tensor in int8_activations(graph) if not is_trained(tensor, levels)]
    assert [name for name in others if INSIDE.get(behind, "no such") not in name] == []
    rows = {"ids": dense_clicks.validation.inputs["ids"][:400]}
    gaps = np.abs(Scorer(content)(rows) - keras_scores(candidate.model, rows))
    assert gaps.mean() < 2e-3 and gaps.max() < 3e-2


def test_operators_with_one_possible_range_have_that_one(
    shipped: Callable[[Any], tuple[Candidate, Graph, bytes]],
) -> None:
    """LiteRT's sigmoid gives -128 … 127 over 256; a range of the data would have to be converted to."""
    candidate, graph, _ = shipped(gates)
    gate = next(operator for operator in graph.operators if operator.kind == "LOGISTIC")
    assert float(graph.tensors[gate.outputs[0]].scales[0]) == pytest.approx(1 / 256)
    ranges = candidate.history[-1].notes["ranges"]
    assert ranges["other_activation"] == ranges["tested"] == [0.0, 255 / 256] and ranges["tanh"] == [-1.0, 127 / 128]
    before = graph.tensors[gate.inputs[0]]
    assert is_trained(before, {"other": trained_levels(candidate.model)["other"]}), (
        "what the sigmoid reads is trained too"
    )
    assert graph.producers[gate.inputs[0]].kind == "FULLY_CONNECTED"


def test_ranges_of_a_percentile_leave_outliers_out_and_stay(dense_clicks: Splits) -> None:
    model = one_dense_network(product)
    names = ("first", "other")
    whole = observed_ranges(model, names, dense_clicks)
    inner = observed_ranges(model, names, dense_clicks, percentile=90.0)
    for name in names:
        assert whole[name][0] < inner[name][0] <= 0 <= inner[name][1] < whole[name][1]
    short = replace(dense_clicks, train=dense_clicks.train.take(768))
    step = QAT(percentile=90.0, learning_rate=1e-2)
    trained = step.apply(Candidate(model, dense_clicks.schema), short, seed=0).history[-1].notes["ranges"]
    expected = observed_ranges(model, names, short, percentile=90.0)
    for name in names:
        np.testing.assert_allclose(trained[name], expected[name], rtol=1e-6)
    followed = QAT(learning_rate=1e-2).apply(Candidate(model, dense_clicks.schema), short, seed=0)
    start = observed_ranges(model, names, short)
    assert not np.allclose(followed.history[-1].notes["ranges"]["other"], start["other"], rtol=1e-4)


def test_what_stays_in_float_in_the_file_trains_in_float(clicks: Splits) -> None:
    model = build_model("deepfm", clicks.schema, **needs("deepfm").settings)
    places = range_places(model, layers_with(model, ("dense", "cross")))
    assert {"logit", "probability", "table_hist_id_0_mean", "numeric_transform"} <= set(places.in_float)
    assert not {"logit", "probability", "table_hist_id_0_mean", "table"} & set(places.holders)
    assert any("head" in reason for reason in places.in_float.values())


def test_no_layer_is_traced_twice_where_none_is_taken_apart(
    dense_clicks: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced: list[str] = []

    def counted(layer: Any, model: Any) -> Any:
        traced.append(layer.name)
        return operators_of(layer, model)

    monkeypatch.setattr("tfshop.compression._operators.operators_of", counted)
    model = one_dense_network(layers.ReLU(name="tested"))
    assert activations_apart(model, ("first", "second")) is model
    trained_with_rounding(model, dense_clicks)
    assert {"first", "tested", "second"} <= set(traced) and len(traced) == len(set(traced))
    before = with_activations_apart(model, ("first", "second"))
    assert before is not model and not {id(w) for w in before.weights} & {id(w) for w in model.weights}


def test_operators_of_a_lambda_are_known_without_knowing_the_lambda() -> None:
    x = keras.Input((4,))
    moved = layers.Lambda(lambda t: t[:, :2], name="moved")(x)
    joined = layers.Lambda(lambda t: keras.backend.concatenate([t, t]), name="joined")(moved)
    spread_out = layers.LayerNormalization(name="normalized")(joined)
    scaled = layers.BatchNormalization(name="scaled")(spread_out)
    model = keras.Model(x, layers.Dense(1, activation="sigmoid", name="dense")(scaled))
    found = {layer.name: operators_of(layer, model) for layer in model.layers[1:]}
    assert found["moved"].is_move and not found["joined"].is_move and found["joined"].is_concatenation
    assert found["normalized"].normalizes and not found["scaled"].normalizes
    assert found["dense"].has_product and found["dense"].last == "Sigmoid"
