"""Scores of weights say which of them matter."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from helpers import first_rows, same_weights

from tfshop._keras import keras
from tfshop.compression.importance import IMPORTANCES, Scorer, weight_scores
from tfshop.compression.kernels import kernel_variables, kernels_of
from tfshop.compression.moments import input_moments
from tfshop.compression.rebuild import copy_model
from tfshop.compression.roles import layers_with
from tfshop.data import Splits
from tfshop.errors import PlanError
from tfshop.layers import ExpertKernels, InterestGRU
from tfshop.models import build_model

NAMES = ("dense_0", "dense_1")


def kernel(model: Any, name: str = "dense_1") -> np.ndarray:
    return model.get_layer(name).get_weights()[0]


@pytest.mark.parametrize("importance", [*IMPORTANCES, lambda kernel, moments: kernel**2])
def test_scores_have_the_shapes_of_the_kernels_and_leave_the_model_as_it_was(
    importance: Any, trained_mlp: Any, clicks: Splits
) -> None:
    before = trained_mlp.get_weights()
    scores = weight_scores(trained_mlp, NAMES, importance, clicks, seed=1)
    assert {name: score.shape for name, score in scores.items()} == {n: kernel(trained_mlp, n).shape for n in NAMES}
    assert all(score.dtype == np.float64 and (score >= 0).all() and score.std() > 0 for score in scores.values())
    assert same_weights(trained_mlp, before)
    again = weight_scores(trained_mlp, NAMES, importance, clicks, seed=1)
    assert all(np.array_equal(scores[name], again[name]) for name in NAMES)


def test_magnitude_is_the_absolute_weight(trained_mlp: Any, clicks: Splits) -> None:
    np.testing.assert_array_equal(
        weight_scores(trained_mlp, NAMES, "magnitude", clicks)["dense_1"], np.abs(kernel(trained_mlp))
    )


def test_activation_weighs_by_the_mean_square_of_the_input(trained_mlp: Any, clicks: Splits) -> None:
    found = weight_scores(trained_mlp, NAMES, "activation", clicks, seed=2)["dense_1"]
    moments = input_moments(trained_mlp, ["dense_1"], clicks.train, seed=2)["dense_1"]
    np.testing.assert_allclose(found, np.abs(kernel(trained_mlp)) * moments.mean_square[:, None])


def test_taylor_is_zero_where_a_weight_changes_nothing_and_large_where_it_does(
    trained_mlp: Any, clicks: Splits
) -> None:
    """A unit that the head does not read has no effect however large its weights are."""
    model = copy_model(trained_mlp)
    head = model.get_layer("logit")
    weights, bias = head.get_weights()
    weights[3] = 0.0
    head.set_weights([weights, bias])
    scores = weight_scores(model, ["dense_1"], "taylor", clicks)["dense_1"]
    assert (scores[:, 3] == 0).all() and np.abs(kernel(model)[:, 3]).max() > 0
    assert scores.sum(axis=0).max() > 0


def test_taylor_tells_the_change_of_the_loss(trained_mlp: Any, clicks: Splits) -> None:
    """To first order: halving the weight that it calls largest changes the loss as much as it says, on one batch."""
    rows = first_rows(clicks.train.inputs, 256)
    labels = clicks.train.labels[:256].reshape(-1, 1)
    data = clicks.__class__(clicks.train.take(256), clicks.validation, clicks.test, clicks.schema)
    scores = weight_scores(trained_mlp, ["dense_1"], "taylor", data)["dense_1"]
    model = copy_model(trained_mlp)

    def loss() -> float:
        return float(np.mean(keras.losses.binary_crossentropy(labels, model(rows, training=False))))

    start, place = loss(), np.unravel_index(scores.argmax(), scores.shape)
    values, bias = model.get_layer("dense_1").get_weights()
    values[place] *= 0.99
    model.get_layer("dense_1").set_weights([values, bias])
    assert abs(loss() - start) == pytest.approx(0.01 * scores[place], rel=0.1)


def test_random_scores_follow_the_seed_and_the_layer_alone(trained_mlp: Any, clicks: Splits) -> None:
    first = weight_scores(trained_mlp, NAMES, "random", clicks, seed=1)
    assert np.array_equal(
        first["dense_1"], weight_scores(trained_mlp, ("dense_1",), "random", clicks, seed=1)["dense_1"]
    )
    assert not np.array_equal(first["dense_1"], weight_scores(trained_mlp, NAMES, "random", clicks, seed=2)["dense_1"])


def test_a_callable_gets_kernels_as_matrices_with_the_moments_of_their_inputs(clicks: Splits) -> None:
    seen: dict[tuple[int, ...], tuple[int, ...]] = {}

    def importance(matrix: np.ndarray, moments: Any) -> np.ndarray:
        seen[matrix.shape] = moments.mean_square.shape
        return np.abs(matrix) * moments.mean_square[:, None] ** 0.5

    model = build_model("fibinet", clicks.schema, dimension=4, hidden=(8,), bilinear="each")
    (name,) = [layer.name for layer in model.layers if type(layer) is keras.layers.EinsumDense][:1]
    shape = tuple(model.get_layer(name).kernel.shape)
    scores = weight_scores(model, [name], importance, clicks)[name]
    assert seen == {(4, shape[0] * 4): (4,)} and scores.shape == shape
    squares = input_moments(model, [name], clicks.train)[name].mean_square
    expected = np.abs(model.get_layer(name).kernel.numpy()) * np.sqrt(squares)[None, :, None]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_scores_of_several_targets_add_up_their_losses(trained_several: Any, two_targets: Splits) -> None:
    names = layers_with(trained_several, ("dense",))
    scores = weight_scores(trained_several, names, "taylor", two_targets)
    assert set(scores) == set(names) and all(score.max() > 0 for score in scores.values())


def test_gradients_follow_the_weights_as_they_change(trained_mlp: Any, clicks: Splits) -> None:
    model = copy_model(trained_mlp)
    scorer = Scorer(model, ("dense_1",), "taylor", clicks)
    before = scorer.scores()["dense_1"]
    values, bias = model.get_layer("dense_1").get_weights()
    values[0] = 0.0
    model.get_layer("dense_1").set_weights([values, bias])
    assert before[0].max() > 0 and (scorer.scores()["dense_1"][0] == 0).all()


def test_kernels_are_found_wherever_they_are() -> None:
    """In stock layers, in layers made of them, and where a layer declares its own."""
    x, steps = keras.Input((8,)), keras.Input((5, 6))
    attention = keras.layers.MultiHeadAttention(2, 3, name="attention")
    lstm = keras.layers.Bidirectional(keras.layers.LSTM(4), name="lstm")
    experts, gru = ExpertKernels(2, name="experts"), InterestGRU(2, name="gru")
    outputs = [attention(steps, steps), lstm(steps), experts(x), gru(steps), keras.layers.PReLU(name="none")(x)]
    model = keras.Model([x, steps], outputs)
    found = kernels_of(model, ["attention", "lstm", "experts", "gru", "none"])
    counts = Counter(kernel.layer for kernel in found.values())
    assert counts == {"attention": 4, "lstm": 4, "experts": 1, "gru": 2}
    assert {"experts", "gru:gates_kernel", "attention:query/kernel"} <= set(found)
    assert len(found) == 11 and kernel_variables(model.get_layer("none")) == []


def test_a_kernel_of_experts_meets_all_of_its_input(clicks: Splits) -> None:
    x = keras.Input((8,))
    model = keras.Model(x, ExpertKernels(2, name="experts")(x))
    one = kernels_of(model, ["experts"])["experts"]
    values = one.variable.numpy()
    assert one.axes == (0, 1) and one.matrix(values).shape == (8, 4)
    np.testing.assert_array_equal(one.shaped(one.matrix(values)), values)
    rows = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    apart = [rows[:, 4 * e : 4 * e + 4] @ one.matrix(values)[4 * e : 4 * e + 4] for e in range(2)]
    np.testing.assert_allclose(model(rows), np.concatenate(apart, axis=1), rtol=1e-5)


def test_moments_of_what_a_kernel_does_not_read_are_refused(trained_mlp: Any, clicks: Splits) -> None:
    for importance in ("activation", lambda kernel, moments: kernel):
        with pytest.raises(PlanError, match=r"kernel of 'table' does not meet.*Fix:"):
            weight_scores(trained_mlp, ["table"], importance, clicks)
    assert weight_scores(trained_mlp, ["table"], "taylor", clicks)["table"].max() > 0


@pytest.mark.parametrize(
    ("importance", "message"),
    [
        ("size", "importance is 'size'. Expected one of magnitude, activation, taylor, random"),
        (3, "importance is 3. Expected one of"),
        (lambda kernel, moments: kernel[0], r"gives shape .* for 'dense_1'"),
        (lambda kernel, moments: kernel * np.nan, "not finite"),
    ],
)
def test_importances_that_give_no_scores_are_refused(
    importance: Any, message: str, trained_mlp: Any, clicks: Splits
) -> None:
    with pytest.raises(PlanError, match=message):
        weight_scores(trained_mlp, ["dense_1"], importance, clicks)
