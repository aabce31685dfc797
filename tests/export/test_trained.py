"""Layers stay in float after training with rounding too, and all others keep what was trained."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import first_rows, keras_scores
from levels import int8_activations, is_trained, trained_levels
from networks import spread

from tfshop._keras import keras
from tfshop.compression import QAT, Candidate
from tfshop.data import Splits
from tfshop.export import Export
from tfshop.export.mixed import change, logits
from tfshop.export.trained import trained_ranges, without_ranges
from tfshop.models import build_model
from tfshop.pipeline import compress
from tfshop.recipes import careful
from tfshop.runtime import Scorer, read_graph

ROWS = 512
layers = keras.layers


def products(content: bytes) -> dict[str, str]:
    """Layer of each product -> type of its kernel."""
    graph = read_graph(content)
    found = {}
    for operator in graph.operators:
        if operator.kind == "FULLY_CONNECTED":
            name = graph.tensors[operator.outputs[0]].name
            found[next(part for part in name.split(";")[0].split("/") if "_" in part or part == "logit")] = (
                graph.tensors[operator.inputs[1]].dtype
            )
    return found


@pytest.fixture(scope="module")
def quantized(trained_dcn: Any, clicks: Splits) -> Any:
    """The network of crosses with trained ranges."""
    brief = replace(clicks, train=clicks.train.take(1024))
    return QAT().apply(Candidate(trained_dcn, clicks.schema), brief, seed=0).model


@pytest.fixture(scope="module")
def plain(quantized: Any, clicks: Splits) -> bytes:
    """Its file, nothing asked for."""
    return Export("int8", ROWS).to_bytes(quantized, clicks)


@pytest.mark.parametrize("names", [("cross_1_kernel",), ("dense_1", "dense_0"), ("table",)])
def test_layers_that_are_named_stay_in_float_and_no_other(
    names: tuple[str, ...], quantized: Any, plain: bytes, clicks: Splits
) -> None:
    content = Export("int8", ROWS, keep_float=names).to_bytes(quantized, clicks)
    before, after = products(plain), products(content)
    assert {name for name in after if after[name] != before[name]} == set(names) - {"table"}
    assert {after[name] for name in names if name in after} <= {"float32"}
    types = [
        read_graph(c).tensors[o.inputs[0]].dtype for c in (plain, content) for o in read_graph(c).operators
        if o.kind == "GATHER" and read_graph(c).tensors[o.inputs[0]].is_constant
    ]  # fmt: skip
    assert types == ["int8", "float32" if "table" in names else "int8"]


def test_what_is_not_named_keeps_its_trained_ranges(quantized: Any, clicks: Splits) -> None:
    content = Export("int8", ROWS, keep_float=("cross_1_kernel",)).to_bytes(quantized, clicks)
    levels = trained_levels(quantized)
    tensors = list(int8_activations(read_graph(content)))
    others = [tensor.name for tensor in tensors if not is_trained(tensor, levels)]
    assert len(tensors) > 8 and all("table" in name or "dense_1" in name for name in others), others
    given = {name: level for name, level in levels.items() if name != "cross_1_kernel"}
    for name in ("cross_0_kernel", "cross_0_product", "cross_1_product", "features", "dense_0_relu"):
        assert any(is_trained(tensor, {name: given[name]}) for tensor in tensors), name
    rows = first_rows(clicks.validation.inputs, 600)
    gaps = np.abs(Scorer(content)(rows) - keras_scores(quantized, rows))
    assert gaps.mean() < 5e-3 and gaps.max() < 5e-2


def test_a_model_without_its_ranges_has_the_trained_weights(quantized: Any) -> None:
    bare = without_ranges(quantized)
    assert trained_ranges(quantized) and not trained_ranges(bare)
    kernels = [model.get_layer("cross_1_kernel").get_weights()[0] for model in (quantized, bare)]
    np.testing.assert_array_equal(*kernels)


def test_folded_layers_stay_in_float_by_their_name(dense_clicks: Splits) -> None:
    """The range is behind the rectifier, three layers on; a sigmoid goes with the layer it was part of."""
    ids = keras.Input((3,), dtype="int32", name="ids")
    hidden = layers.Flatten()(layers.Embedding(110, 8, name="table")(ids))
    hidden = layers.Dense(16, name="first_dense")(hidden)
    hidden = layers.ReLU(name="first_relu")(layers.BatchNormalization(name="first_norm")(hidden))
    hidden = layers.Dense(12, activation="sigmoid", name="second_dense")(hidden)
    hidden = layers.Dense(10, activation="relu", name="third_dense")(hidden)
    model = keras.Model(ids, layers.Dense(1, activation="sigmoid", name="probability")(hidden))
    spread(model)
    short = replace(dense_clicks, train=dense_clicks.train.take(512))
    trained = QAT().apply(Candidate(model, short.schema), short, seed=0).model
    found = {}
    for name in ("first_dense", "second_dense", "third_dense"):
        content = Export("int8", 64, keep_float=(name,)).to_bytes(trained, short)
        graph = read_graph(content)
        found[name] = Counter(graph.tensors[o.inputs[1]].dtype for o in graph.operators if o.kind == "FULLY_CONNECTED")
        assert found[name] == {"float32": 2, "int8": 2}, "the head and the layer"
        gate = next(graph.tensors[o.outputs[0]].dtype for o in graph.operators if o.kind == "LOGISTIC")
        assert (gate == "float32") == (name == "second_dense")


def test_layers_that_hurt_most_stay_in_float_until_the_limit_holds(
    quantized: Any, plain: bytes, clicks: Splits
) -> None:
    rows = [first_rows(clicks.train.take(ROWS, seed=0).inputs, ROWS)]
    reference = logits(Export("float32").to_bytes(without_ranges(quantized), clicks), rows)
    bound = 0.6 * change(logits(plain, rows), reference)
    made = Export("int8", ROWS, mixed={"max_change": bound}).export(quantized, clicks)
    assert change(logits(made.content, rows), reference) < 1.2 * bound and "not reached" not in made.notes[0]
    types = Counter(products(made.content).values())
    assert types["int8"] > 0 and types["float32"] > Counter(products(plain).values())["float32"]


def test_where_the_limit_holds_at_once_no_layer_is_measured(quantized: Any, plain: bytes, clicks: Splits) -> None:
    made = Export("int8", ROWS, mixed={"max_change": 5.0}).export(quantized, clicks)
    assert "by: none" in made.notes[0] and Counter(products(made.content).values()) == Counter(products(plain).values())


def test_the_careful_recipe_is_training_with_rounding_and_a_limit(
    trained_dcn: Any, clicks: Splits, brief_timing: None
) -> None:
    brief = replace(clicks, train=clicks.train.take(1024))
    plan = careful(max_auc_drop=1e-7)
    plan = replace(plan, exporter=replace(plan.exporter, calibration_rows=ROWS))
    result = compress(trained_dcn, brief, plan)
    notes = " ".join(result.evaluation.notes)
    assert "mixed precision: layers left in float" in notes and "with QAT" in notes


@pytest.mark.parametrize(("name", "settings"), [("nfm", {}), ("gdcn", {"num_crosses": 2})])
def test_opened_layers_stay_in_float_by_the_name_they_had(name: str, settings: dict[str, int], clicks: Splits) -> None:
    model = build_model(name, clicks.schema, dimension=4, hidden=(8,), **settings)
    spread(model)
    short = replace(clicks, train=clicks.train.take(512))
    trained = QAT().apply(Candidate(model, clicks.schema), short, seed=0).model
    opened = next(layer.name.split("/")[0] for layer in trained.layers if "/" in layer.name)
    graph = read_graph(Export("int8", 64, keep_float=(opened,)).to_bytes(trained, clicks))
    computing = [o for o in graph.operators if o.kind not in {"QUANTIZE", "DEQUANTIZE"}]
    given = [graph.tensors[operator.outputs[0]] for operator in computing]
    assert {tensor.dtype for tensor in given if f"/{opened}/" in tensor.name} == {"float32"}
