"""Centroids of weighted points."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans

from tfshop.tables.kmeans import SAMPLE, kmeans, nearest, telling_sample

random = np.random.default_rng(3)
POINTS = (random.normal(size=(4000, 3)) * np.exp(random.normal(size=(4000, 1)))).astype(np.float32)
WEIGHTS = np.floor(4000 / np.arange(1, 4001.0)) + 1


def error(points: np.ndarray, weights: np.ndarray, centroids: np.ndarray) -> float:
    gaps = np.square(points - centroids[nearest(points, centroids)]).sum(axis=1)
    return float(
        weights @ gaps / (weights @ np.square(points - np.average(points, axis=0, weights=weights)).sum(axis=1))
    )


def test_the_error_is_that_of_the_usual_tool() -> None:
    made = error(POINTS, WEIGHTS, kmeans(POINTS, WEIGHTS, 64))
    usual = KMeans(64, n_init=1, random_state=0).fit(POINTS, sample_weight=WEIGHTS).cluster_centers_
    assert made < 1.05 * error(POINTS, WEIGHTS, usual.astype(np.float32))


def test_nearest_is_the_nearest_and_far_from_zero_too() -> None:
    centroids = POINTS[::100]
    gaps = np.square(POINTS[:, None].astype(float) - centroids).sum(axis=2)
    assert np.array_equal(nearest(POINTS, centroids), gaps.argmin(axis=1))
    far = (POINTS[:500] / 100 + 1000).astype(np.float32)
    chosen = np.square(far - kmeans(far, np.ones(500), 200)[nearest(far, kmeans(far, np.ones(500), 200))])
    assert chosen.sum() < 0.05 * np.square(far - far.mean(axis=0)).sum()


def test_heavy_points_get_the_centroids() -> None:
    heavy = np.where(POINTS[:, 0] > 1, 1000.0, 1.0)
    plain, weighted = (kmeans(POINTS, weights, 32) for weights in (np.ones(4000), heavy))
    assert error(POINTS, heavy, weighted) < 0.8 * error(POINTS, heavy, plain)
    assert error(POINTS, np.ones(4000), weighted) > error(POINTS, np.ones(4000), plain)


def test_the_seed_decides_and_nothing_else() -> None:
    assert np.array_equal(kmeans(POINTS, WEIGHTS, 32, seed=1), kmeans(POINTS, WEIGHTS, 32, seed=1))
    assert not np.array_equal(kmeans(POINTS, WEIGHTS, 32, seed=1), kmeans(POINTS, WEIGHTS, 32, seed=2))


@pytest.mark.parametrize("weights", [np.ones(40), np.zeros(40)])
def test_fewer_different_points_than_centroids_are_met_exactly(weights: np.ndarray) -> None:
    points = np.repeat(np.arange(10, dtype=np.float32)[:, None], 4, axis=0)
    centroids = kmeans(points, weights, 16)
    assert centroids.shape == (16, 1) and np.allclose(centroids[nearest(points, centroids)], points, atol=1e-5)


def test_no_centroid_stays_without_points() -> None:
    clusters = np.repeat(100 * random.normal(size=(50, 2)), 20, axis=0) + random.normal(size=(1000, 2)) * 0.1
    points = clusters.astype(np.float32)
    centroids = kmeans(points, np.ones(1000), 50)
    assert len(set(nearest(points, centroids).tolist())) == 50


def test_a_sample_stands_for_all_points_and_has_the_few_large_ones() -> None:
    many = np.concatenate([np.full((300_000, 1), 0.1), [[1000.0]]]).astype(np.float32)
    ids, weights = telling_sample(many, np.ones(len(many)), SAMPLE, np.random.default_rng(0))
    assert len(ids) <= SAMPLE and len(many) - 1 in ids
    share = weights[ids == len(many) - 1] / weights.sum()
    assert 0.9 / len(many) < share[0] < 1.1 / len(many)
    assert kmeans(many, np.ones(len(many)), 2).max() > 999
