"""Attention sees real behaviours alone."""

from __future__ import annotations

import numpy as np

from tfshop._keras import tf
from tfshop.layers import (
    Dice,
    HistoryAttention,
    PositionScores,
    PositionWeights,
    RecencyCodes,
    WeightedSum,
)

RNG = np.random.default_rng(0)


def test_weights_of_padding_are_zero_and_the_others_are_the_scores() -> None:
    scores = np.float32([[[1.0], [-2.0], [9.0]]])
    found = PositionWeights()([scores, tf.constant([[4, 7, 0]])]).numpy()
    assert found.tolist() == [[[1.0, -2.0, 0.0]]]


def test_softmax_is_taken_over_real_positions_and_an_empty_history_weighs_nothing() -> None:
    scores = np.float32([[[1.0], [3.0], [99.0]], [[5.0], [5.0], [5.0]]])
    found = PositionWeights(softmax=True)([scores, tf.constant([[4, 7, 0], [0, 0, 0]])]).numpy()
    share = 1 / (1 + np.exp(-2))
    np.testing.assert_allclose(found, [[[1 - share, share, 0]], [[0, 0, 0]]], rtol=1e-5)


def test_a_weighted_sum_and_scores_are_matrix_products() -> None:
    positions = RNG.normal(size=(2, 3, 4)).astype(np.float32)
    vector = RNG.normal(size=(2, 1, 4)).astype(np.float32)
    weights = RNG.normal(size=(2, 1, 3)).astype(np.float32)
    np.testing.assert_allclose(PositionScores()([positions, vector])[..., 0], (positions * vector).sum(-1), atol=1e-5)
    np.testing.assert_allclose(
        WeightedSum()([weights, positions])[:, 0], np.einsum("bl,bld->bd", weights[:, 0], positions), atol=1e-5
    )


def test_dice_follows_its_formula_and_learns_statistics_from_real_positions() -> None:
    layer = Dice()
    values = RNG.normal(3.0, 2.0, size=(64, 5, 2)).astype(np.float32)
    values[:, 3:] = 1e3  # padding: were it counted, mean and variance would be far off
    ids = np.ones((64, 5), np.int32)
    ids[:, 3:] = 0
    found = layer([values, ids], training=True).numpy()[:, :3]
    real = values[:, :3].reshape(-1, 2)
    share = 1 / (1 + np.exp(-(values[:, :3] - real.mean(0)) / np.sqrt(real.var(0) + 1e-3)))
    np.testing.assert_allclose(found, values[:, :3] * share, atol=2e-2)
    step = tf.function(lambda: layer([values, ids], training=True))
    for _ in range(600):
        step()
    np.testing.assert_allclose(layer.normalization.moving_mean, real.mean(0), rtol=2e-2)
    layer([values, np.zeros_like(ids)], training=True)
    assert np.isfinite(layer.normalization.moving_variance).all()


def test_recency_is_counted_from_the_last_real_behaviour_whatever_the_padding() -> None:
    short = RecencyCodes()(tf.constant([[7, 8, 9]])).numpy()[0]
    long = RecencyCodes()(tf.constant([[7, 8, 9, 0, 0]])).numpy()[0]
    assert short.argmax(-1).tolist() == [3, 2, 1, 0]
    np.testing.assert_array_equal(long[[0, 1, 2, 5], :4], short)
    assert not long[3:5].any() and (long[[0, 1, 2, 5]].sum(-1) == 1).all()


def test_an_unknown_id_inside_a_history_takes_no_place() -> None:
    found = RecencyCodes()(tf.constant([[7, 0, 9]])).numpy()[0]
    assert found[[0, 2]].argmax(-1).tolist() == [2, 1] and not found[1].any()


def test_attention_is_that_of_the_paper_and_nobody_looks_at_padding() -> None:
    query, key, value = (RNG.normal(size=(1, 4, 6)).astype(np.float32) for _ in range(3))
    ids = tf.constant([[5, 6, 0]])  # and the target as the fourth token
    found = HistoryAttention(2)([query, key, value, ids]).numpy()[0]
    seen = [0, 1, 3]
    for head in range(2):
        part = slice(3 * head, 3 * head + 3)
        scores = query[0, :, part] @ key[0, seen, part].T / np.sqrt(3)
        weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        np.testing.assert_allclose(found[:, part], weights @ value[0, seen, part], atol=1e-5)
