"""Crosses with vectors and with experts, and the attention that weighs pairs, compute the formulas of their papers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tfshop._keras import keras
from tfshop.layers import AttentionSum, BiInteraction, ExpertKernels, mixture_cross_stack, vector_cross_stack

WIDTH, RANK = 5, 3


def stacked(stack: Callable[[Any], Any]) -> tuple[Any, np.ndarray]:
    keras.utils.set_random_seed(0)
    x0 = keras.Input((WIDTH,))
    model = keras.Model(x0, stack(x0))
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=weight.shape) for weight in model.get_weights()])
    return model, rng.normal(size=(7, WIDTH)).astype(np.float32)


def softmax(values: np.ndarray) -> np.ndarray:
    return np.exp(values) / np.exp(values).sum(axis=-1, keepdims=True)


def test_three_vector_crosses_compute_the_formula_of_the_paper() -> None:
    model, x0 = stacked(lambda x: vector_cross_stack(x, 3))
    expected = x0
    for level in range(3):
        (kernel,), (bias,) = (model.get_layer(f"cross_{level}_{part}").get_weights() for part in ("kernel", "bias"))
        expected = x0 * (expected @ kernel) + bias + expected
    np.testing.assert_allclose(model(x0), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("num_experts", [1, 3])
def test_two_low_rank_crosses_compute_the_sum_over_experts_of_the_paper(num_experts: int) -> None:
    """Written there expert by expert; here `U`, `V` of all of them are one kernel each."""
    model, x0 = stacked(lambda x: mixture_cross_stack(x, 2, num_experts=num_experts, rank=RANK))
    crossed = x0
    for level in range(2):
        v, v_bias = model.get_layer(f"cross_{level}_reduced").get_weights()
        (c,) = model.get_layer(f"cross_{level}_experts").get_weights()
        u, bias = model.get_layer(f"cross_{level}_kernel").get_weights()
        gates = np.ones((len(x0), 1))
        if num_experts > 1:
            gate, gate_bias = model.get_layer(f"cross_{level}_gate").get_weights()
            gates = softmax(crossed @ gate + gate_bias)
        added = np.zeros_like(x0)
        for expert in range(num_experts):
            part = slice(expert * RANK, (expert + 1) * RANK)
            hidden = np.tanh(np.tanh(crossed @ v[:, part] + v_bias[part]) @ c[expert])
            added += gates[:, [expert]] * x0 * (hidden @ u[part] + bias)
        crossed = added + crossed
    np.testing.assert_allclose(model(x0), crossed, rtol=1e-3, atol=1e-3)


def test_experts_start_as_different_as_those_of_a_dense_layer() -> None:
    """Each kernel is square, whatever the number of experts."""
    layer = ExpertKernels(4)
    layer.build((None, 4 * 64))
    limit = np.sqrt(6 / (64 + 64))
    assert 0.95 * limit < np.abs(layer.kernels.numpy()).max() <= limit


def test_attention_is_a_mean_weighted_by_the_softmax_of_scores() -> None:
    rng = np.random.default_rng(0)
    scores, values = rng.normal(size=(4, 6, 1)).astype("f4"), rng.normal(size=(4, 6, 3)).astype("f4")
    expected = (softmax(scores[:, :, 0])[:, :, None] * values).sum(axis=1)
    np.testing.assert_allclose(AttentionSum()([scores, values]), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(AttentionSum()([scores.reshape(-1, 1), values]), expected, rtol=1e-4, atol=1e-5)


def test_bi_interaction_adds_up_the_products_of_all_pairs() -> None:
    fields = np.random.default_rng(0).normal(size=(4, 5, 3)).astype("f4")
    expected = sum(fields[:, i] * fields[:, j] for j in range(5) for i in range(j))
    np.testing.assert_allclose(BiInteraction()(fields), expected, rtol=1e-4, atol=1e-5)
