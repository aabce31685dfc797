"""Kernels of few bits, of few values and of many zeros; BatchNormalization; the scores before as targets."""

from __future__ import annotations

import gzip
from typing import Any

import numpy as np
import pytest
from helpers import keras_scores
from networks import spread

from tfshop._keras import keras, tf
from tfshop.compression import QAT, Candidate, Cluster, Prune
from tfshop.compression._quantizers import ChannelScales, LearnedSteps, OneRange, SharedValues, shared_values
from tfshop.compression.candidate import StepRecord
from tfshop.compression.rebuild import copy_model
from tfshop.compression.roles import layers_with, unwrapped
from tfshop.data import Splits
from tfshop.errors import PlanError
from tfshop.export import Export
from tfshop.models import build_model
from tfshop.runtime import Scorer, read_graph
from tfshop.training import predict

layers = keras.layers
LEVELS = {4: 15, 2: 3}


def kernels_in_bytes(content: bytes) -> dict[tuple[int, ...], np.ndarray]:
    """Stored int8 numbers of the kernels, by shape (channels, inputs)."""
    graph = read_graph(content)
    read = [graph.tensors[operator.inputs[1]] for operator in graph.operators if operator.kind == "FULLY_CONNECTED"]
    return {tensor.shape: tensor.stored() for tensor in read if tensor.dtype == "int8"}


def exported(candidate: Candidate, data: Splits) -> bytes:
    return Export("int8", calibration_rows=512).to_bytes(candidate.model, data)


@pytest.fixture(scope="module")
def few_bits(plain: Candidate, dense_clicks: Splits) -> dict[int, Candidate]:
    """The perceptron after QAT in 8, 4 and 2 bits."""
    return {bits: QAT(bits=bits, learning_rate=1e-3).apply(plain, dense_clicks, seed=0) for bits in (8, 4, 2)}


@pytest.fixture(scope="module")
def files(few_bits: dict[int, Candidate], dense_clicks: Splits) -> dict[int, bytes]:
    """Of 8, 4 and 2 bits."""
    return {bits: exported(candidate, dense_clicks) for bits, candidate in few_bits.items()}


@pytest.mark.parametrize("bits", LEVELS)
def test_the_file_uses_as_many_levels_as_the_bits_allow(
    bits: int, few_bits: dict[int, Candidate], files: dict[int, bytes]
) -> None:
    numbers = kernels_in_bytes(files[bits])
    assert len(numbers) == len(few_bits[bits].history[-1].notes["layers"])
    top = LEVELS[bits] // 2
    allowed = {round(127 * level / top) for level in range(-top, top + 1)}
    for kernel in numbers.values():
        assert set(np.unique(kernel)) <= allowed and len(np.unique(kernel)) > LEVELS[bits] // 2
    assert set(few_bits[bits].history[-1].notes["levels"].values()) <= set(range(2, LEVELS[bits] + 1))
    assert min(few_bits[8].history[-1].notes["levels"].values()) > 16


def test_fewer_bits_make_a_smaller_download(files: dict[int, bytes]) -> None:
    sizes = {bits: sum(len(gzip.compress(k.tobytes())) for k in kernels_in_bytes(file).values())
             for bits, file in files.items()}  # fmt: skip
    assert sizes[4] < 0.75 * sizes[8] and sizes[2] < 0.45 * sizes[8]


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_kernels_in_the_bytes_are_those_that_were_trained(
    bits: int, few_bits: dict[int, Candidate], files: dict[int, bytes]
) -> None:
    graph = read_graph(files[bits])
    model = few_bits[bits].model
    kernels = [unwrapped(model.get_layer(n)).kernel.numpy().T for n in layers_with(model, ("dense",))]
    stored = [
        graph.tensors[o.inputs[1]] for o in graph.operators
        if o.kind == "FULLY_CONNECTED" and graph.tensors[o.inputs[1]].dtype == "int8"
    ]  # fmt: skip
    assert len(stored) == len(kernels)
    for tensor in stored:
        assert tensor.scales is not None and tensor.scales.size == tensor.shape[0]
        assert min(np.abs(tensor.values() - k).max() for k in kernels if k.shape == tensor.shape) < 1e-6


def test_learned_steps_stay_nearer_to_the_network_than_rounding_to_three_levels(
    few_bits: dict[int, Candidate], plain: Candidate, dense_clicks: Splits
) -> None:
    rounded = copy_model(plain.model)
    for name in layers_with(rounded, ("dense",)):
        layer = rounded.get_layer(name)
        steps = np.abs(layer.kernel.numpy()).max(axis=0) / (LEVELS[2] // 2)
        layer.kernel.assign(np.round(layer.kernel.numpy() / steps) * steps)
    wanted = predict(plain.model, dense_clicks.validation)
    at_once, trained = (
        np.abs(predict(model, dense_clicks.validation) - wanted).mean() for model in (rounded, few_bits[2].model)
    )
    assert trained < 0.7 * at_once


def test_the_gradient_of_a_step_is_that_of_the_paper() -> None:
    rule = LearnedSteps(4, ChannelScales((0,)))
    kernel = tf.Variable([[0.34], [-0.9], [0.12], [9.0]])
    steps = tf.Variable([[0.1]])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(rule(kernel, True, {"steps": steps}))
    to_kernel, to_steps = tape.gradient(total, [kernel, steps])
    np.testing.assert_allclose(to_kernel.numpy().ravel(), [1, 0, 1, 0])  # clipped weights have none
    inside = [3 - 3.4, -7, 1 - 1.2, 7]
    np.testing.assert_allclose(to_steps.numpy(), [[sum(inside) / np.sqrt(4 * 7)]], rtol=1e-3)


def test_steps_begin_where_the_paper_says() -> None:
    kernel = np.array([[0.2, 0.0], [-0.4, 0.0], [0.6, 1.0]], np.float32)
    steps = LearnedSteps(4, ChannelScales((0,))).first_steps(kernel)
    np.testing.assert_allclose(steps, [[2 * 0.4 / np.sqrt(7), 2 * 1.0 / np.sqrt(7)]], rtol=1e-6)


def test_a_kernel_with_one_range_in_the_file_has_one_step() -> None:
    kernel = np.array([[0.2, 0.0], [-0.4, 0.0], [0.6, 1.0]], np.float32)
    rule = LearnedSteps(2, OneRange())
    np.testing.assert_allclose(rule.first_steps(kernel), [[2 * 2.2 / 4]], rtol=1e-6)
    rounded = rule.rounded(kernel, {"steps": tf.Variable([[0.5]])}).numpy()
    np.testing.assert_allclose(rounded, [[0, 0], [-0.5, 0], [0.5, 0.5]], atol=4e-3)  # 255 levels have no middle


def shared_kernel(shape: tuple[int, int], count: int, *, zeros: bool, seed: int = 0) -> np.ndarray:
    """A kernel of few values, as clustering leaves it."""
    random = np.random.default_rng(seed)
    values = np.sort(random.normal(size=count)).astype(np.float32)
    if zeros:
        values[count // 2] = 0.0
    return values[random.integers(0, count, shape)]


@pytest.fixture(params=[False, True], ids=["clusters", "clusters and zeros"])
def clustered(request: pytest.FixtureRequest, dense_clicks: Splits) -> Any:
    """A network whose kernels have 6 values each."""
    ids = keras.Input((3,), dtype="int32", name="ids")
    hidden = layers.Flatten()(layers.Embedding(110, 8, name="table")(ids))
    hidden = layers.Dense(16, activation="relu", name="first")(hidden)
    hidden = layers.Dense(12, activation="relu", name="second")(hidden)
    model = keras.Model(ids, layers.Dense(1, activation="sigmoid", name="probability")(hidden))
    spread(model)
    for name in ("first", "second"):
        kernel = model.get_layer(name).kernel
        kernel.assign(shared_kernel(tuple(kernel.shape), 6, zeros=request.param) * 0.3)
    return model


@pytest.mark.parametrize("bits", [8, 4])
def test_shared_values_stay_shared_and_are_trained(clustered: Any, bits: int, dense_clicks: Splits) -> None:
    """Cluster-preserving, and with zeros PCQAT: the values move, who shares which one does not."""
    start = Candidate(clustered, dense_clicks.schema)
    after = QAT(learning_rate=1e-2, bits=bits).apply(start, dense_clicks, seed=0)
    assert set(after.history[-1].notes["values_kept_in"].values()) == {6}
    stored = kernels_in_bytes(exported(after, dense_clicks))
    for name in ("first", "second"):
        before, kernel = (unwrapped(m.get_layer(name)).kernel.numpy() for m in (clustered, after.model))
        assert len(np.unique(kernel)) <= 6 and not np.allclose(kernel, before, atol=1e-3)
        for value in np.unique(before):
            assert len(np.unique(kernel[before == value])) == 1, "two weights that shared a value part"
        assert (kernel[before == 0] == 0).all()
        numbers = stored[kernel.shape[::-1]]
        assert max(len(np.unique(channel)) for channel in numbers) <= 6
        assert ((numbers == 0).mean() > 0.1) == bool((before == 0).any())


def test_values_that_are_not_shared_are_told_from_zeros() -> None:
    random = np.random.default_rng(0)
    free = random.normal(size=(16, 8)).astype(np.float32)
    assert shared_values(free) is None
    assert shared_values(np.where(random.random(free.shape) < 0.9, 0, free)) is None, "it shares zero alone"
    assert shared_values(shared_kernel((16, 8), 5, zeros=True)) is not None


def test_the_gradient_of_a_shared_value_is_that_of_all_who_share_it() -> None:
    kernel = tf.Variable([[1.0, 2.0], [1.0, 2.0], [2.0, 1.0]])
    rule = SharedValues(np.array([[0, 1], [0, 1], [1, 0]]))
    factors = tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(rule(kernel, True, {}) * factors)
    gradient = tape.gradient(total, kernel).numpy()
    np.testing.assert_allclose(gradient, [[10 / 3, 11 / 3], [10 / 3, 11 / 3], [11 / 3, 10 / 3]], rtol=1e-6)


def test_zeros_of_layers_that_do_not_train_with_rounding_are_kept(ids_alone: Splits) -> None:
    """Crosses and tables were pruned too, and QAT is asked for the tower alone."""
    model = build_model("dcn", ids_alone.schema, dimension=4, hidden=(16,), num_crosses=1)
    spread(model)
    for name in ("cross_0_kernel", "table"):
        weights = model.get_layer(name).get_weights()
        weights[0][::2] = 0
        model.get_layer(name).set_weights(weights)
    record = StepRecord("Prune", {}, {"layers": ["cross_0_kernel", "table"]})
    after = QAT(roles=("dense",)).apply(Candidate(model, ids_alone.schema, (record,)), ids_alone, seed=0)
    for name in ("cross_0_kernel", "table"):
        assert (unwrapped(after.model.get_layer(name)).get_weights()[0][::2] == 0).all(), name
    reasons = {row["layer"]: row["reason"] for row in after.history[-1].notes["left_alone"]}
    assert "holds still" in reasons["table"] and "holds still" in reasons["cross_0_kernel"]
    free = QAT(roles=("dense",)).apply(Candidate(model, ids_alone.schema), ids_alone, seed=0)
    assert (free.model.get_layer("table").get_weights()[0][::2] != 0).any(), "the check can fail"


@pytest.fixture(scope="module")
def normalized(dense_clicks: Splits) -> Any:
    """Dense, BatchNormalization, ReLU twice over, with statistics far from those of any batch."""
    ids = keras.Input((3,), dtype="int32", name="ids")
    hidden = layers.Flatten()(layers.Embedding(110, 8, name="table")(ids))
    for level, width in enumerate((16, 8)):
        hidden = layers.Dense(width, use_bias=level == 1, name=f"dense_{level}")(hidden)
        hidden = layers.ReLU(name=f"relu_{level}")(layers.BatchNormalization(name=f"norm_{level}")(hidden))
    model = keras.Model(ids, layers.Dense(1, activation="sigmoid", name="probability")(hidden))
    spread(model)
    return model


def test_a_folded_normalization_ships_the_kernel_that_was_trained(normalized: Any, dense_clicks: Splits) -> None:
    """The converter multiplies kernels with the normalization: int8 numbers are those of the trained kernel."""
    after = QAT(learning_rate=1e-3).apply(Candidate(normalized, dense_clicks.schema), dense_clicks, seed=0)
    content = exported(after, dense_clicks)
    assert dict(read_graph(content).kinds)["FULLY_CONNECTED"] == 3 and "MUL" not in read_graph(content).kinds
    stored = kernels_in_bytes(content)
    for level in (0, 1):
        kernel = unwrapped(after.model.get_layer(f"dense_{level}")).kernel.numpy()
        numbers = np.round(kernel / (np.abs(kernel).max(axis=0) / 127)).astype(int).T
        signs = np.sign(after.model.get_layer(f"norm_{level}").gamma.numpy()).reshape(-1, 1).astype(int)
        np.testing.assert_array_equal(stored[numbers.shape], numbers * signs)
        assert f"dense_{level}" not in after.history[-1].notes["ranges"], "no tensor of the file is between the two"
    rows = {"ids": dense_clicks.validation.inputs["ids"]}
    gaps = np.abs(Scorer(content)(rows) - keras_scores(after.model, rows))
    assert gaps.mean() < 1e-3 and gaps.max() < 1e-2


@pytest.mark.parametrize(("share", "moves"), [(0.0, False), (0.5, True), (1.0, True)])
def test_batch_statistics_stop_where_they_are_asked_to(
    share: float, moves: bool, normalized: Any, dense_clicks: Splits
) -> None:
    step = QAT(freeze_batch_norm_after=share)
    after = step.apply(Candidate(normalized, dense_clicks.schema), dense_clicks, seed=0)
    before, now = (m.get_layer("norm_0").moving_mean.numpy() for m in (normalized, after.model))
    assert np.array_equal(before, now) != moves
    assert not np.array_equal(normalized.get_layer("norm_0").gamma, after.model.get_layer("norm_0").gamma)


def test_the_scores_before_hold_an_overfitting_network_back(plain: Candidate, dense_clicks: Splits) -> None:
    """On labels alone a large learning rate moves the scores further than with the scores before as targets."""
    before = predict(plain.model, dense_clicks.validation)
    steps = {distill: QAT(epochs=2, learning_rate=2e-3, distill=distill) for distill in (False, True)}
    moved = {
        distill: np.abs(predict(step.apply(plain, dense_clicks, 0).model, dense_clicks.validation) - before).mean()
        for distill, step in steps.items()
    }
    assert moved[True] < 0.8 * moved[False]


@pytest.mark.parametrize(
    "change", [{"bits": 3}, {"bits": 16}, {"percentile": 50}, {"percentile": 101}, {"freeze_batch_norm_after": 1.5}]
)
def test_settings_out_of_range_are_refused_at_construction(change: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=f"{next(iter(change))} is.*Expected.*Fix:"):
        QAT(**change)


def test_kernels_that_cluster_made_of_few_values_go_on_to_have_as_few(
    plain: Candidate, ids_alone: Splits, files: dict[int, bytes]
) -> None:
    """Prune, Cluster, QAT: zeros and shared values are in the bytes."""
    current = plain
    for step in (Prune(0.5, roles=("dense",)), Cluster(8, roles=("dense",))):
        current = step.apply(current, ids_alone, seed=0)
    after = QAT().apply(current, ids_alone, seed=0)
    stored = kernels_in_bytes(exported(after, ids_alone))
    unshared = kernels_in_bytes(files[8])
    for name in layers_with(plain.model, ("dense",)):
        before, kernel = (unwrapped(m.get_layer(name)).kernel.numpy() for m in (current.model, after.model))
        assert len(np.unique(kernel)) <= len(np.unique(before)) <= 8 and not np.array_equal(before, kernel)
        assert (kernel[before == 0] == 0).all() and (before == 0).mean() > 0.4
        numbers = stored[kernel.shape[::-1]]
        assert max(len(np.unique(channel)) for channel in numbers) <= 8 and len(np.unique(numbers)) <= 32
        assert len(np.unique(unshared[kernel.shape[::-1]])) > 64, "the check can fail"
