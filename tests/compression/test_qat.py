"""Training with rounding: what was trained is what the file has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import first_rows, keras_scores

from tfshop._keras import keras
from tfshop.compression import QAT, Candidate
from tfshop.compression._quantizers import on_int8_grid
from tfshop.compression.roles import layers_with, unwrapped
from tfshop.data import Splits
from tfshop.errors import PlanError
from tfshop.export import Export
from tfshop.layers import OutputRange
from tfshop.runtime import Scorer, count_zeros, lookup_tables, read_graph, walk_from_input
from tfshop.runtime.graph import Graph

from .conftest import ASKED


@pytest.fixture(scope="module")
def quantized(trained_dcn: Any, clicks: Splits) -> Candidate:
    """The network of crosses after QAT."""
    return QAT().apply(Candidate(trained_dcn, clicks.schema), clicks, seed=0)


@pytest.fixture(scope="module")
def content(quantized: Candidate, clicks: Splits) -> bytes:
    """Its int8 file."""
    return Export("int8").to_bytes(quantized.model, clicks)


@pytest.fixture(scope="module")
def graph(content: bytes) -> Graph:
    """What is in the file."""
    return read_graph(content)


def ranged(model: Any) -> dict[str, OutputRange]:
    return {layer.name: layer for layer in model.layers if isinstance(layer, OutputRange)}


def test_the_layers_that_are_int8_in_the_file_have_a_frozen_range(quantized: Candidate) -> None:
    found = set(ranged(quantized.model))
    assert {"dense_0", "dense_0_numeric", "cross_0_kernel", "cross_0_product", "cross_0_residual", "head"} <= found
    assert {"table_fields", "numeric_transform", "features", "dense_0_relu"} <= found
    assert "flat_fields" not in found, "what is only reshaped has the scale it had"
    assert not {"table", "table_rows", "logit", "probability"} & found, "the head and what reads ids stay in float"
    assert "dense_0_sum" not in found, "the converter fuses a sum with its rectifier"
    assert "dense_1" not in found, "what only a concatenation reads has the scale of the whole"
    assert quantized.history[-1].notes["layers"] == [*layers_with(quantized.model, ("dense", "cross"))]
    assert set(quantized.history[-1].notes["ranges"]) == found


def test_ranges_are_those_of_the_data_and_hold_zero(quantized: Candidate, clicks: Splits) -> None:
    """TF-MOT starts every range at -6 … 6, where a short training leaves it."""
    rows = first_rows(clicks.train.inputs, 2000)
    for name, layer in ranged(quantized.model).items():
        reached = keras.Model(quantized.model.inputs, quantized.model.get_layer(name).output)(rows).numpy()
        assert layer.minimum <= 0 <= layer.maximum and (layer.minimum, layer.maximum) != (-6, 6)
        assert reached.max() - reached.min() > 0.6 * (layer.maximum - layer.minimum), f"{name} wastes its levels"
        assert len(np.unique(reached)) <= 256


def test_weights_have_a_scale_for_each_channel_and_are_those_of_the_model(quantized: Candidate, graph: Graph) -> None:
    kernels = {}
    for name in layers_with(quantized.model, ("dense", "cross")):
        kernel = unwrapped(quantized.model.get_layer(name)).get_weights()[0]
        kernels[kernel.shape[::-1]] = [*kernels.get(kernel.shape[::-1], []), kernel.T]
    seen = 0
    for operator in graph.operators:
        if operator.kind != "FULLY_CONNECTED" or graph.tensors[operator.inputs[1]].dtype != "int8":
            continue
        weight = graph.tensors[operator.inputs[1]]
        assert weight.scales is not None and weight.quantized_dimension == 0
        assert weight.scales.size == weight.shape[0] and len(np.unique(weight.scales)) > 1
        gaps = [np.abs(weight.values() - kernel).max() for kernel in kernels[weight.shape]]
        assert min(gaps) < 1e-6, "rounding at export moved weights that were trained to lie on the grid"
        seen += 1
    assert seen == sum(map(len, kernels.values())) == 6


def test_ids_reach_the_table_untouched(graph: Graph) -> None:
    for name in ("ids", "hist_id_0"):
        path = walk_from_input(graph, name)
        assert path.lookups and path.losses == ()
        assert all(tensor.dtype == "int32" for tensor in path.tensors)
    assert [table.tensor.dtype for table in lookup_tables(graph)] == ["int8"]


def test_the_file_scores_like_the_network_that_was_trained(
    quantized: Candidate, content: bytes, clicks: Splits
) -> None:
    rows = first_rows(clicks.validation.inputs, 600)
    gaps = np.abs(Scorer(content)(rows) - keras_scores(quantized.model, rows))
    assert gaps.mean() < 5e-3 and gaps.max() < 5e-2


def test_the_network_before_is_kept_for_comparison(quantized: Candidate, trained_dcn: Any) -> None:
    assert quantized.unquantized is trained_dcn


def test_zeros_of_pruning_are_kept_in_the_network_and_in_the_file(
    pruned: Candidate, pruned_and_quantized: Candidate, clicks: Splits
) -> None:
    for name in layers_with(pruned.model, ("dense",)):
        before = pruned.model.get_layer(name).get_weights()[0]
        after = unwrapped(pruned_and_quantized.model.get_layer(name)).get_weights()[0]
        assert (after[before == 0] == 0).all() and not np.array_equal(before, after)
    zeros, size = count_zeros(Export("int8").to_bytes(pruned_and_quantized.model, clicks))
    assert zeros / size >= ASKED - 0.01
    assert set(pruned_and_quantized.history[-1].notes["zeros_kept_in"]) == {"dense_0", "dense_0_numeric", "dense_1"}
    assert [record.name for record in pruned_and_quantized.history] == ["Prune", "QAT"]


def test_a_kernel_on_the_grid_has_at_most_255_levels_a_channel() -> None:
    kernel = np.random.default_rng(0).normal(size=(4000, 3)).astype(np.float32) * [1.0, 100.0, 0.0]
    rounded = on_int8_grid(kernel)
    steps = np.abs(kernel).max(axis=0) / 127
    assert (np.abs(rounded - kernel) <= steps / 2 + 1e-6).all()
    assert len(np.unique(rounded[:, 0])) <= 255 and (rounded[:, 2] == 0).all()
    np.testing.assert_allclose(on_int8_grid(rounded), rounded, rtol=1e-6)


@pytest.mark.parametrize("roles", [("dense", "table"), ("head",), ("dense", "tower")])
def test_roles_without_a_rule_are_refused(roles: tuple[str, ...], trained_mlp: Any, clicks: Splits) -> None:
    with pytest.raises(PlanError, match=r"QAT cannot treat role.*Fix: QAT\(roles="):
        QAT(roles=roles).check(trained_mlp, clicks.schema)


def test_ids_that_would_meet_a_fake_quant_are_refused_before_training(clicks: Splits) -> None:
    """A Dense layer that reads ids as if they were numbers."""
    ids = keras.Input((3,), dtype="int32", name="ids")
    hidden = keras.layers.Dense(4, name="hidden")(keras.layers.Reshape((3,), name="reshaped")(ids))
    model = keras.Model(ids, keras.layers.Dense(1, activation="sigmoid", name="probability")(hidden), name="odd")
    with pytest.raises(PlanError, match=r"fake-quant on 'hidden'.*Fix:"):
        QAT().check(model, clicks.schema)
