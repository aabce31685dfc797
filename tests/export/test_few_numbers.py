"""A score that hangs on few numbers has as many levels as in float: candidates do not tie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import keras_scores
from networks import spread

from tfshop._keras import keras
from tfshop.compression import QAT, Candidate, LowRank
from tfshop.data import Splits
from tfshop.export import Export
from tfshop.numerics.narrow import FEW_NUMBERS
from tfshop.runtime import Scorer, read_graph

layers = keras.layers


def products(content: bytes) -> dict[tuple[int, int], str]:
    """Widths that each product reads and gives -> type of what it gives."""
    graph = read_graph(content)
    found = [operator for operator in graph.operators if operator.kind == "FULLY_CONNECTED"]
    ends = [(graph.tensors[o.inputs[0]], graph.tensors[o.outputs[0]]) for o in found]
    return {(read.shape[-1], given.shape[-1]): given.dtype for read, given in ends}


def levels(content: bytes, data: Splits) -> int:
    return len(np.unique(Scorer(content)(dict(data.validation.inputs))))


@pytest.fixture(scope="module")
def narrow(trained_mlp: Any, clicks: Splits) -> Callable[[int], Candidate]:
    """The perceptron whose last kernel has a low rank."""

    def factored(rank: int) -> Candidate:
        return LowRank(rank={"dense_1": rank}, epochs=0).apply(Candidate(trained_mlp, clicks.schema), clicks, seed=0)

    return factored


def test_a_kernel_of_low_rank_before_the_head_stays_in_float(
    narrow: Callable[[int], Candidate], trained_mlp: Any, clicks: Splits
) -> None:
    content = Export("int8", 512).to_bytes(narrow(2).model, clicks)
    found = products(content)
    assert (found[64, 2], found[2, 32], found[32, 1]) == 3 * ("float32",), "both factors and the head"
    assert "int8" in found.values(), "the rest of the tower is int8"
    whole = levels(Export("int8", 512).to_bytes(trained_mlp, clicks), clicks)
    assert levels(content, clicks) > 0.95 * whole


def test_a_kernel_of_higher_rank_is_int8(narrow: Callable[[int], Candidate], clicks: Splits) -> None:
    found = products(Export("int8", 512).to_bytes(narrow(FEW_NUMBERS).model, clicks))
    assert found[64, FEW_NUMBERS] == found[FEW_NUMBERS, 32] == "int8" and found[32, 1] == "float32"


def test_training_with_rounding_leaves_it_in_float_too(narrow: Callable[[int], Candidate], clicks: Splits) -> None:
    short = replace(clicks, train=clicks.train.take(768))
    candidate = QAT().apply(narrow(2), short, seed=0)
    content = Export("int8", 512).to_bytes(candidate.model, clicks)
    found = products(content)
    assert found[64, 2] == found[2, 32] == "float32" and "int8" in found.values()
    assert "dense_1" not in candidate.history[-1].notes["layers"]
    reasons = {row["layer"]: row["reason"] for row in candidate.history[-1].notes["left_alone"]}
    assert "few numbers" in reasons["dense_1"] and "few numbers" in reasons["dense_1_in"]
    float_file = Export("float32").to_bytes(candidate.model, clicks)
    assert levels(content, clicks) > 0.95 * levels(float_file, clicks)


def test_a_few_scores_that_are_joined_before_the_last_product_stay_in_float(dense_clicks: Splits) -> None:
    ids = keras.Input((3,), dtype="int32", name="ids")
    fields = layers.Flatten()(layers.Embedding(110, 8, name="table")(ids))
    hidden = layers.Dense(16, activation="relu", name="first")(fields)
    parts = [layers.Dense(1, activation="tanh", name=f"score_{n}")(hidden) for n in range(3)]
    joined = layers.Concatenate(name="joined")(parts)
    model = keras.Model(ids, layers.Dense(1, activation="sigmoid", name="probability")(joined))
    spread(model)
    graph = read_graph(content := Export("int8", 512).to_bytes(model, dense_clicks))
    kinds = {o.kind: graph.tensors[o.outputs[0]].dtype for o in graph.operators}
    assert kinds["CONCATENATION"] == kinds["TANH"] == "float32"
    rows = {"ids": dense_clicks.validation.inputs["ids"]}
    exact = len(np.unique(keras_scores(model, rows)))
    assert len(np.unique(Scorer(content)(rows))) > 0.9 * exact
