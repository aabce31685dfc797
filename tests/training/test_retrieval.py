"""In-batch softmax, the catalogue, and recall counted over all items."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import same_weights
from sklearn.metrics import log_loss
from two_towers import ITEM, market

from tfshop._keras import keras, tf
from tfshop.data import Splits
from tfshop.errors import DataError, ModelError, PlanError
from tfshop.evaluation.retrieval import cosines, measure_recall
from tfshop.models import build_model
from tfshop.training import InBatchSoftmax, InBatchSoftmaxLoss, predict, train_two_tower
from tfshop.training.catalogue import Catalogue, item_column
from tfshop.training.recall import ranks, recall_at
from tfshop.training.retrieval import vectors_of

SIZES = {"dimension": 8, "hidden": (32,), "vector_width": 16}
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def data() -> Splits:
    return market()


def trained(data: Splits, loss: InBatchSoftmax | None = None, **settings: Any) -> tuple[Any, Any]:
    model = build_model("two_tower", data.schema, item=ITEM, **SIZES)
    return model, train_two_tower(model, data, loss=loss, learning_rate=5e-3, **settings)


@pytest.mark.parametrize("mask", [False, True])
def test_the_loss_is_that_of_the_paper(mask: bool) -> None:
    users, items = RNG.normal(size=(2, 5, 3)).astype(np.float32)
    numbers, log_p = np.array([4, 7, 4, 1, 0]), np.log([0.3, 0.1, 0.3, 0.2, 0.05])
    found = InBatchSoftmaxLoss(0.5, mask, reduction="none")(
        np.stack([numbers, log_p], axis=1).astype(np.float32), np.concatenate([users, items], axis=1)
    )
    expected = []
    for i in range(5):
        corrected = [users[i] @ items[j] / 0.5 - log_p[j] for j in range(5)]
        others = [j for j in range(5) if j == i or not (mask and numbers[j] == numbers[i])]
        expected.append(-np.log(np.exp(corrected[i]) / sum(np.exp(corrected[j]) for j in others)))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_correction_makes_batches_drawn_by_popularity_pull_like_all_items() -> None:
    """The gradient at a user, less that of the positives, is minus the mean item under a softmax."""
    share = np.array([0.5, 0.2, 0.1, 0.1, 0.05, 0.05])
    items, user = RNG.normal(size=(6, 3)).astype(np.float32) * 0.7, RNG.normal(size=(1, 3)).astype(np.float32)
    chances = np.exp(user @ items.T)[0]
    expected = (chances / chances.sum()) @ items

    def pull(correction: bool) -> np.ndarray:
        drawn = RNG.choice(6, size=4096, p=share)
        users, log_p = tf.Variable(np.repeat(user, 4096, axis=0)), np.log(share[drawn]) * correction
        with tf.GradientTape() as tape:
            y_true = np.stack([drawn, log_p], axis=1).astype(np.float32)
            loss = InBatchSoftmaxLoss(1.0, mask_duplicates=False)(y_true, tf.concat([users, items[drawn]], axis=1))
        return tape.gradient(loss, users).numpy().sum(axis=0) + items[drawn].mean(axis=0)

    assert np.abs(pull(True) - expected).max() < 0.05
    assert np.abs(pull(False) - expected).max() > 0.1


def test_ranks_are_those_of_sorting_and_ties_count_against() -> None:
    queries, items = RNG.normal(size=(40, 4)).astype(np.float32), RNG.normal(size=(30, 4)).astype(np.float32)
    wanted = RNG.integers(0, 30, 40)
    order = np.argsort(-(queries @ items.T), axis=1)
    expected = [int(np.flatnonzero(order[q] == wanted[q])[0]) + 1 for q in range(40)]
    assert ranks(queries, items, wanted).tolist() == expected
    assert ranks(queries, np.ones_like(items), wanted).tolist() == [30] * 40


def test_ranks_are_the_same_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, items = RNG.normal(size=(2, 23, 4)).astype(np.float32)
    whole = ranks(queries, items, np.arange(23))
    monkeypatch.setattr("tfshop.training.recall.CHUNK_SCORES", 23 * 5)
    np.testing.assert_array_equal(ranks(queries, items, np.arange(23)), whole)


def test_vectors_that_are_not_finite_are_refused() -> None:
    with pytest.raises(DataError, match="items hold vectors that are not finite"):
        ranks(np.ones((1, 2), np.float32), np.float32([[np.nan, 1]]), np.array([0]))


def test_recall_is_the_share_of_ranks_up_to_k() -> None:
    assert recall_at(np.array([1, 2, 3, 50]), (1, 3, 100)) == {1: 0.25, 3: 0.75, 100: 1.0}


def test_the_catalogue_has_each_known_item_once_and_counts_its_positive_rows(data: Splits) -> None:
    catalogue = Catalogue.of(data.train, 1)
    ids, labels = data.train.inputs["ids"], data.train.labels
    assert catalogue.ids.tolist() == sorted(set(ids[:, 1].tolist()) - {0})
    np.testing.assert_array_equal(catalogue.rows.inputs["ids"][:, 1], catalogue.ids)
    for position in (0, 10, len(catalogue.ids) - 1):
        same = ids[:, 1] == catalogue.ids[position]
        assert catalogue.popularity[position] == labels[same].sum()
        np.testing.assert_array_equal(catalogue.rows.inputs["ids"][position], ids[same][-1])
    positives = catalogue.positives(data.train)
    assert positives.num_rows == labels.sum() and (positives.labels == 1).all()
    share = np.exp(catalogue.log_probability(positives))
    first = positives.inputs["ids"][0, 1]
    assert share[0] == pytest.approx(labels[ids[:, 1] == first].sum() / labels.sum(), rel=1e-5)


def test_unknown_items_are_neither_in_the_catalogue_nor_queries(data: Splits) -> None:
    ids = data.validation.inputs["ids"].copy()
    ids[::2, 1] = 0
    holed = Splits(
        data.train, replace(data.validation, inputs={**data.validation.inputs, "ids": ids}), data.test, data.schema
    )
    model = build_model("two_tower", data.schema, item=ITEM, **SIZES)
    recall = measure_recall(lambda side, split: vectors_of(model, split, side), holed, 1, (10,))["validation"]
    assert recall.num_skipped == data.validation.labels[::2].sum()
    assert recall.num_queries == data.validation.labels[1::2].sum()


def test_two_towers_beat_popularity_and_the_correction_is_why(data: Splits) -> None:
    found = {}
    for correction in (True, False):
        model, _ = trained(data, InBatchSoftmax(correction=correction), epochs=5)
        recall = measure_recall(lambda side, split, m=model: vectors_of(m, split, side), data, 1, (10,))
        found[correction] = recall["test"].recall[10]
        popular = recall["test"].popularity_recall[10]
    assert found[True] > popular + 0.05
    assert found[True] > found[False] + 0.05


def test_the_best_epoch_is_kept_and_the_probability_fits_the_labels(data: Splits) -> None:
    model, history = trained(data, epochs=3)
    assert history.best.validation_recall == max(epoch.validation_recall for epoch in history.epochs)
    assert history.k == len(Catalogue.of(data.train, 1).ids) // 20
    measured = measure_recall(lambda side, split: vectors_of(model, split, side), data, 1, (history.k,))
    assert measured["validation"].recall[history.k] == pytest.approx(history.best.validation_recall)
    labels, scores = data.train.labels, predict(model, data.train)
    assert scores.mean() == pytest.approx(labels.mean(), abs=0.01)
    assert log_loss(labels, scores) < np.log(2) - 0.01


def test_the_same_seed_gives_the_same_towers_from_one_trace_of_the_step(
    data: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced, usual = [], keras.Model.train_step
    monkeypatch.setattr(keras.Model, "train_step", lambda self, rows: traced.append(rows) or usual(self, rows))
    one, again, other = (trained(data, epochs=1, seed=seed)[0] for seed in (1, 1, 2))
    assert same_weights(one, again) and not same_weights(one, other) and len(traced) == 3


def test_popularity_ranks_follow_the_counts(data: Splits) -> None:
    catalogue = Catalogue.of(data.train, 1)
    found = catalogue.popularity_ranks(catalogue.rows)
    assert found[catalogue.popularity.argmax()] == 1
    assert (np.diff(found[np.argsort(-catalogue.popularity, kind="stable")]) >= 0).all()


def test_what_cannot_be_trained_is_refused(data: Splits) -> None:
    with pytest.raises(PlanError, match="temperature is 0"):
        InBatchSoftmax(temperature=0)
    model = build_model("two_tower", data.schema, item=("price",), **SIZES)
    with pytest.raises(ModelError, match="one that says which item it is"):
        train_two_tower(model, data)
    model = build_model("two_tower", data.schema, item=ITEM, **SIZES)
    with pytest.raises(ModelError, match="not 'user'"):
        item_column(model, data.schema, "user")
    with pytest.raises(ModelError, match="has no item tower"):
        train_two_tower(build_model("mlp", data.schema, dimension=4, hidden=(8,)), data)
    silent = replace(data.train, labels=np.zeros_like(data.train.labels))
    with pytest.raises(DataError, match="no positive row with a known item"):
        Catalogue.of(silent, 1)


def test_duplicates_are_told_apart_by_number() -> None:
    """A batch of one item only: masked, each row has nothing to lose against."""
    y_true, y_pred = np.zeros((4, 2), np.float32), RNG.normal(size=(4, 6)).astype(np.float32)
    assert float(InBatchSoftmaxLoss(0.1, True)(y_true, y_pred)) == pytest.approx(0, abs=1e-6)
    assert float(InBatchSoftmaxLoss(0.1, False)(y_true, tf.constant(y_pred))) > 0.1


def test_cosines_of_rows_of_zeros_are_one_where_both_are() -> None:
    one, other = np.array([[3, 4], [0, 0], [0, 0], [1, 0]], np.float32), np.array([[6, 8], [0, 0], [1, 0], [0, 2]])
    np.testing.assert_allclose(cosines(one, other), [1, 1, 0, 0])
