"""Kernels of few bits in layers other than Dense, and inside attention: the levels and scales that the file has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import keras_scores, same_weights
from networks import spread

from tfshop._keras import keras
from tfshop.compression import QAT, Candidate
from tfshop.compression.candidate import StepRecord
from tfshop.compression.roles import unwrapped
from tfshop.data import Splits
from tfshop.export import Export
from tfshop.layers.experts import ExpertKernels
from tfshop.layers.interaction_network import interaction_network
from tfshop.runtime import Scorer, read_graph

layers = keras.layers
LEVELS = {8: 255, 4: 15, 2: 3}
ATTENTION = ("attended/query", "attended/key", "attended/value", "attended/attention_output")
# Kernel to its channels in the file, which has one scale for a batch of matrices.
CHANNELS = {
    **{
        "first": 24,
        "cross_0_kernel": 5,
        "one_matrix": 10,
        "a_matrix_a_field": 1,
        "experts": 1,
    },  # cross_0_kernel: of the CIN
    **dict(zip(ATTENTION, (6, 6, 8, 8), strict=True)),
}


def network() -> Any:
    """A layer of each kind that has a kernel, side by side."""
    ids = keras.Input((3,), dtype="int32", name="ids")
    flat = layers.Dense(24, name="first")(layers.Flatten()(layers.Embedding(110, 8, name="table")(ids)))
    fields = layers.Reshape((3, 8), name="fields")(flat)
    one_matrix = layers.EinsumDense("bfi,ihj->bfhj", output_shape=(3, 2, 5), name="one_matrix")
    a_matrix_a_field = layers.EinsumDense("bfi,fij->bfj", output_shape=(3, 6), name="a_matrix_a_field")
    given = [
        ExpertKernels(3, activation="relu", name="experts")(flat),
        layers.Flatten()(one_matrix(fields)),
        layers.Flatten()(a_matrix_a_field(fields)),
        layers.Flatten()(layers.MultiHeadAttention(2, 3, value_dim=4, name="attended")(fields, fields)),
        layers.PReLU(name="slopes")(flat),
        interaction_network(fields, (5,)),
    ]
    hidden = layers.Dense(16, activation="relu", name="last")(layers.Concatenate(name="joined")(given))
    model = keras.Model(ids, layers.Dense(1, activation="sigmoid", name="probability")(hidden))
    spread(model)
    return model


def attending(*, masked_and_shared: bool) -> Any:
    """An attention, which may be called twice on what has a mask."""
    ids = keras.Input((3,), dtype="int32", name="ids")
    fields = layers.Embedding(110, 8, mask_zero=masked_and_shared, name="table")(ids)
    attended = layers.MultiHeadAttention(2, 3, name="attended")
    hidden = attended(fields, fields)
    hidden = layers.Flatten()(attended(hidden, fields) if masked_and_shared else hidden)
    hidden = layers.Dense(16, activation="relu", name="last")(hidden)
    model = keras.Model(ids, layers.Dense(1, activation="sigmoid", name="probability")(hidden))
    spread(model)
    return model


def trained(model: Any, data: Splits, bits: int) -> Candidate:
    brief = replace(data, train=data.train.take(768))
    return QAT(bits=bits, learning_rate=1e-3).apply(Candidate(model, data.schema), brief, seed=0)


def kernels_of(model: Any) -> dict[str, np.ndarray]:
    """Kernels by layer, those inside an attention too."""
    found = {}
    for layer in map(unwrapped, model._flatten_layers(include_self=False)):
        for weight in layer.weights:
            path, _, kind = weight.name.partition(":")[0].rpartition("/")
            if kind in {"kernel", "kernels"} and layer.name != "probability":
                found["/".join(path.split("/")[-2:]) if "attended" in path else path.split("/")[-1]] = weight.numpy()
    return found


def in_the_file(content: bytes, kernel: np.ndarray) -> Iterator[Any]:
    """int8 constants of the numbers of a kernel, in whatever order."""
    wanted = np.sort(kernel.ravel())
    stored = [tensor for tensor in read_graph(content).tensors if tensor.is_constant and tensor.dtype == "int8"]
    for tensor in (tensor for tensor in stored if tensor.size_bytes == kernel.size):
        if np.abs(np.sort(tensor.values().ravel()) - wanted).max() < 1e-5 * np.abs(wanted).max():
            yield tensor


@pytest.fixture(scope="module")
def start() -> Any:
    """The network of all kinds."""
    return network()


@pytest.fixture(scope="module", params=LEVELS, ids="{} bits".format)
def shipped(request: pytest.FixtureRequest, start: Any, dense_clicks: Splits) -> tuple[int, Candidate, bytes]:
    """Bits, what QAT made of the network of all kinds, and its file."""
    candidate = trained(start, dense_clicks, request.param)
    return request.param, candidate, Export("int8", 512).to_bytes(candidate.model, dense_clicks)


def test_every_kernel_in_the_file_holds_the_levels_of_its_bits(
    shipped: tuple[int, Candidate, bytes], start: Any
) -> None:
    bits, candidate, content = shipped
    before, after = kernels_of(start), kernels_of(candidate.model)
    assert set(after) == {*CHANNELS, "last"}
    for name, kernel in after.items():
        found = list(in_the_file(content, kernel))
        assert found, f"{name}: rounding at export moved what was trained to lie on the grid"
        assert np.corrcoef(before[name].ravel(), kernel.ravel())[0, 1] > 0.7, f"{name} forgot what it had learned"
        assert not np.allclose(before[name], kernel, atol=1e-4), f"{name} is not trained"
        for tensor in found:
            assert len(np.unique(tensor.stored())) <= LEVELS[bits], name
            assert tensor.scales.size == CHANNELS.get(name, 16), name
    if bits == 8:
        assert min(candidate.history[-1].notes["levels"].values()) > 15, "the check can fail"


def test_the_file_scores_as_the_network_that_learned_the_steps(
    shipped: tuple[int, Candidate, bytes], dense_clicks: Splits
) -> None:
    _, candidate, content = shipped
    rows = {"ids": dense_clicks.validation.inputs["ids"]}
    gaps = np.abs(Scorer(content)(rows) - keras_scores(candidate.model, rows))
    assert gaps.mean() < 3e-3 and gaps.max() < 3e-2


def test_what_keeps_eight_bits_is_named_with_the_reason(shipped: tuple[int, Candidate, bytes]) -> None:
    bits, candidate, _ = shipped
    notes = candidate.history[-1].notes
    told = {row["layer"]: row["reason"] for row in notes["left_alone"]}
    kernels = {"first", "last", "cross_0_kernel", "one_matrix", "a_matrix_a_field", "experts", "attended"}
    assert notes["bits"] == {**dict.fromkeys(kernels, bits), "slopes": 8}
    assert set(notes["layers"]) == {*kernels, "slopes"} and not kernels & set(told)
    assert ("slopes" in told) == (bits < 8)
    if bits < 8:
        assert told["slopes"].startswith(f"it trains in 8 bits, not {bits}: ")
    levels = notes["levels"]
    assert set(levels) == {*kernels - {"attended"}, *ATTENTION, "slopes"}
    assert max(levels[name] for name in levels if name != "slopes") <= LEVELS[bits]


def test_an_attention_with_masks_that_is_called_twice_has_few_levels_too(dense_clicks: Splits) -> None:
    candidate = trained(attending(masked_and_shared=True), dense_clicks, 2)
    content = Export("int8", 512).to_bytes(candidate.model, dense_clicks)
    kernels = {name: kernel for name, kernel in kernels_of(candidate.model).items() if name in ATTENTION}
    assert set(kernels) == set(ATTENTION)
    for name, kernel in kernels.items():
        found = list(in_the_file(content, kernel))
        assert found and all(set(np.unique(tensor.stored())) <= {-127, 0, 127} for tensor in found), name
    rows = {"ids": dense_clicks.validation.inputs["ids"]}
    gaps = np.abs(Scorer(content)(rows) - keras_scores(candidate.model, rows))
    assert gaps.mean() < 3e-3 and gaps.max() < 3e-2


def test_zeros_that_came_before_hold_an_attention_still(dense_clicks: Splits) -> None:
    model = attending(masked_and_shared=False)
    attention = model.get_layer("attended")
    weights = attention.get_weights()
    weights[0][::2] = 0
    attention.set_weights(weights)
    pruned = Candidate(model, dense_clicks.schema, (StepRecord("Prune", {}, {"layers": ["attended"]}),))
    brief = replace(dense_clicks, train=dense_clicks.train.take(256))
    after = QAT(bits=4).apply(pruned, brief, seed=0)
    assert same_weights(weights, after.model.get_layer("attended").get_weights())
    told = {row["layer"]: row["reason"] for row in after.history[-1].notes["left_alone"]}
    assert "holds still" in told["attended"] and "attended" not in after.history[-1].notes["bits"]
