"""Kernels and slopes of layers other than Dense: what was trained is in the bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import keras_scores
from networks import spread

from tfshop._keras import keras
from tfshop.compression import QAT, Candidate
from tfshop.compression._quantizers import ChannelScales, OneRange, OneScale, on_int8_grid
from tfshop.compression.roles import unwrapped
from tfshop.data import Splits
from tfshop.export import Export
from tfshop.layers.experts import ExpertKernels
from tfshop.runtime import Scorer, read_graph

layers = keras.layers


def fields(x: Any) -> Any:
    return layers.Reshape((3, 4))(x)


def experts(x: Any) -> Any:
    return ExpertKernels(3, activation="relu", name="experts")(x)


def one_matrix(x: Any) -> Any:
    return layers.Flatten()(layers.EinsumDense("bfi,ihj->bfhj", output_shape=(3, 2, 5), name="one_matrix")(fields(x)))


def a_matrix_a_field(x: Any) -> Any:
    return layers.Flatten()(layers.EinsumDense("bfi,fij->bfj", output_shape=(3, 5), name="a_matrix_a_field")(fields(x)))


def slopes(x: Any) -> Any:
    return layers.PReLU(name="slopes")(layers.Dense(12, name="before")(x))


CASES = {experts: "kernels", one_matrix: "kernel", a_matrix_a_field: "kernel", slopes: "alpha"}


def network(*behind: Callable[[Any], Any]) -> Any:
    """Layers under test side by side, between Dense layers."""
    ids = keras.Input((3,), dtype="int32", name="ids")
    hidden = layers.Flatten()(layers.Embedding(110, 8, name="table")(ids))
    hidden = layers.Dense(12, activation="relu", name="first")(hidden)
    given = [make(hidden) for make in behind]
    hidden = layers.Concatenate(name="joined")(given) if len(given) > 1 else given[0]
    hidden = layers.Dense(16, activation="relu", name="last")(hidden)
    model = keras.Model(ids, layers.Dense(1, activation="sigmoid", name="probability")(hidden))
    spread(model)
    return model


def trained(model: Any, data: Splits, rate: float = 1e-3) -> Candidate:
    brief = replace(data, train=data.train.take(768))
    return QAT(learning_rate=rate).apply(Candidate(model, data.schema), brief, seed=0)


@pytest.fixture(scope="module")
def shipped(dense_clicks: Splits) -> tuple[Any, Candidate, bytes]:
    """A network of all cases, what QAT made of it, and its file."""
    model = network(*CASES)
    candidate = trained(model, dense_clicks)
    return model, candidate, Export("int8", 512).to_bytes(candidate.model, dense_clicks)


@pytest.mark.parametrize("behind", CASES)
def test_the_int8_weight_in_the_file_is_the_trained_one(
    behind: Callable[[Any], Any], shipped: tuple[Any, Candidate, bytes]
) -> None:
    model, candidate, content = shipped
    name = behind.__name__
    before, after = (getattr(unwrapped(m.get_layer(name)), CASES[behind]).numpy() for m in (model, candidate.model))
    assert not np.allclose(before, after, atol=1e-4), "it is trained"
    assert name in candidate.history[-1].notes["layers"]
    stored = [
        t for t in read_graph(content).tensors if t.is_constant and t.dtype == "int8" and t.size_bytes == after.size
    ]
    wanted = np.sort(after.ravel())
    gaps = [np.abs(np.sort(tensor.values().ravel()) - wanted).max() for tensor in stored]
    assert min(gaps) < 1e-5 * np.abs(after).max(), "rounding at export moved what was trained to lie on the grid"


def test_the_file_scores_as_the_network_that_was_trained(
    shipped: tuple[Any, Candidate, bytes], dense_clicks: Splits
) -> None:
    _, candidate, content = shipped
    rows = {"ids": dense_clicks.validation.inputs["ids"]}
    off = np.abs(Scorer(content)(rows) - keras_scores(candidate.model, rows))
    assert off.mean() < 2e-3 and off.max() < 3e-2


def test_without_rounding_in_training_the_file_would_move_them(dense_clicks: Splits) -> None:
    """The check above can fail."""
    model = network(experts)
    kernels = model.get_layer("experts").kernels.numpy()
    content = Export("int8", 512).to_bytes(model, dense_clicks)
    stored = [
        t for t in read_graph(content).tensors if t.is_constant and t.dtype == "int8" and t.shape == kernels.shape
    ]
    gaps = [np.abs(np.sort(t.values().ravel()) - np.sort(kernels.ravel())).max() for t in stored]
    assert min(gaps) > 1e-3 * np.abs(kernels).max()


@pytest.mark.parametrize("quantizer", [ChannelScales((0,)), OneScale(), OneRange()])
def test_what_is_on_its_grid_stays_and_zero_stays_zero(quantizer: Any) -> None:
    weight = np.random.default_rng(0).normal(0.3, 1, (40, 6)).astype(np.float32)
    weight[::3] = 0
    once = quantizer.rounded(weight).numpy()
    np.testing.assert_allclose(quantizer.rounded(once).numpy(), once, atol=1e-5)
    assert (once[::3] == 0).all() and 1e-4 < np.abs(once - weight).max() < 0.02


@pytest.mark.parametrize("ends", [(1, 1), (7, 7), (1, 5), (5, 1), (3, 7)])
def test_a_range_with_zero_half_way_between_two_levels_stays(ends: tuple[int, int]) -> None:
    """As learned steps leave it: so many levels below zero, so many above."""
    weight = np.arange(-ends[0], ends[1] + 1, dtype=np.float32)[:, None] * np.float32([0.1234567, 0.0])
    once = OneRange().rounded(weight).numpy()
    np.testing.assert_allclose(OneRange().rounded(once).numpy(), once, atol=1e-6)
    assert (once[weight == 0] == 0).all() and np.abs(once - weight).max() < 6e-3


def test_a_kernel_of_few_values_is_shipped_as_training_multiplied_with_it(dense_clicks: Splits) -> None:
    """The values lie on one grid, the channels on theirs: training rounds twice, as the exporter does."""
    model = network(slopes)
    kernel = model.get_layer("before").kernel
    values = np.sort(np.random.default_rng(0).normal(size=6)).astype(np.float32) * 0.3
    kernel.assign(values[np.random.default_rng(1).integers(0, 6, kernel.shape)])
    candidate = trained(model, dense_clicks, 1e-2)
    assert candidate.history[-1].notes["values_kept_in"] == {"before": 6}
    after = unwrapped(candidate.model.get_layer("before")).kernel.numpy()
    assert len(np.unique(after)) <= 6 and not np.allclose(after, kernel.numpy(), atol=1e-3)
    graph = read_graph(Export("int8", 512).to_bytes(candidate.model, dense_clicks))
    stored = [t for t in graph.tensors if t.is_constant and t.dtype == "int8" and t.shape == after.shape[::-1]]
    assert min(np.abs(t.values() - on_int8_grid(after).T).max() for t in stored) < 1e-6
    assert max(len(np.unique(row)) for t in stored[:1] for row in t.stored()) <= 6
