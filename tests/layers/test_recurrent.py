"""Recurrence, step by step as the papers write it."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfshop._keras import tf
from tfshop.layers import InterestEvolution, InterestGRU, NextBehaviourLoss

RNG = np.random.default_rng(0)
UNITS, LENGTH = 3, 4


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def reference(projected: np.ndarray, kernels: list[np.ndarray], weights: np.ndarray) -> list[np.ndarray]:
    """States of a GRU whose update gate is scaled by weights (batch, length)."""
    gates_kernel, state_kernel = kernels
    state, states = np.zeros((len(projected), UNITS)), []
    for t in range(projected.shape[1]):
        gates = sigmoid(projected[:, t, : 2 * UNITS] + state @ gates_kernel)
        update, reset = gates[:, :UNITS] * weights[:, [t]], gates[:, UNITS:]
        candidate = np.tanh(projected[:, t, 2 * UNITS :] + reset * (state @ state_kernel))
        state = (1 - update) * state + update * candidate
        states.append(state)
    return states


def test_the_gru_gives_every_state_of_its_formula() -> None:
    projected = RNG.normal(size=(2, LENGTH, 3 * UNITS)).astype(np.float32)
    layer = InterestGRU(UNITS)
    found = layer(projected).numpy()
    expected = reference(projected, layer.get_weights(), np.ones((2, LENGTH)))
    np.testing.assert_allclose(found, np.stack(expected, axis=1), atol=1e-6)


def test_attention_scales_the_update_gate_and_weight_zero_keeps_the_state() -> None:
    projected = RNG.normal(size=(2, LENGTH, 3 * UNITS)).astype(np.float32)
    weights = np.float32([[0.2, 0.7, 0.1, 0.0], [1.0, 0.0, 0.0, 0.0]])
    layer = InterestEvolution(UNITS)
    found = layer([projected, weights[:, None]]).numpy()
    expected = reference(projected, layer.get_weights(), weights)
    np.testing.assert_allclose(found[:, 0], expected[-1], atol=1e-6)
    np.testing.assert_allclose(found[1, 0], expected[0][1], atol=1e-6)


def test_the_auxiliary_loss_is_that_of_numpy_and_is_added_in_training_alone() -> None:
    states, embeddings = (RNG.normal(size=(3, LENGTH, UNITS)).astype(np.float32) for _ in range(2))
    ids = np.int32([[1, 2, 3, 4], [5, 6, 0, 0], [7, 0, 0, 0]])
    layer = NextBehaviourLoss(0.5)
    assert layer([states, embeddings, tf.constant(ids)], training=False) is not None and layer.losses == []
    layer([states, embeddings, tf.constant(ids)], training=True)
    right, wrong = [], []
    for row in range(3):
        for t in range(LENGTH - 1):
            if ids[row, t + 1]:
                right.append(-np.log(sigmoid(states[row, t] @ embeddings[row, t + 1])))
                if ids[row - 1, t + 1]:
                    wrong.append(-np.log(1 - sigmoid(states[row, t] @ embeddings[row - 1, t + 1])))
    np.testing.assert_allclose(layer.losses[0], 0.5 * (np.mean(right) + np.mean(wrong)), rtol=1e-5)


def test_a_batch_of_empty_histories_has_no_auxiliary_loss() -> None:
    values = tf.ones((2, LENGTH, UNITS))
    assert float(NextBehaviourLoss.next_behaviour_loss(values, values, tf.zeros((2, LENGTH), tf.int32))) == 0
