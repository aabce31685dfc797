"""Weighted k-means on many points of few dimensions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SAMPLE = 131_072  # points that centroids are found on: 512 for each of 256
SEEDED_ON = 65_536  # points that first centroids are drawn from
STEPS = 25
TRIALS = 6  # points drawn for each first centroid
ENOUGH = 1e-4  # share of the error that a step has to take off
CHUNK = 4096  # so that distances to 256 centroids stay in the cache
Floats = NDArray[np.float32]
Weights = NDArray[np.float64]


def kmeans(points: Floats, weights: Weights, num_centroids: int, *, seed: int = 0) -> Floats:
    """Centroids of small squared error, points counting by their weights.

    Args:
        points: float32 (n, dimension).
        weights: (n,), none below 0.
        num_centroids: May be more than there are different points: what is left over repeats others.
        seed: Of the first centroids, and of the sample where there are many points.

    Returns:
        float32 (num_centroids, dimension).

    Example:
        >>> points = np.array([[0.0], [1.0], [10.0]], dtype=np.float32)
        >>> sorted(kmeans(points, np.array([3.0, 1.0, 1.0]), 2).ravel().tolist())
        [0.25, 10.0]

    References:
        Arthur and Vassilvitskii, k-means++: The Advantages of Careful Seeding, 2007; Lloyd, Least Squares Quantization
        in PCM, 1982.
    """
    random = np.random.default_rng(seed)
    if not weights.any():
        weights = np.ones(len(points))
    mean = np.average(points, axis=0, weights=weights).astype(np.float32)
    ids, seen = telling_sample(points - mean, weights, SAMPLE, random)
    points = points[ids] - mean  # distances in float32 are exact enough around zero
    return np.asarray(_lloyd(points, seen, _first_centroids(points, seen, num_centroids, random)) + mean)


def nearest(points: Floats, centroids: Floats) -> NDArray[np.uint8]:
    """The nearest of at most 256 centroids to each point, uint8 (n,); of two as near the first."""
    mean = centroids.mean(axis=0)
    codes = np.empty(len(points), dtype=np.uint8)
    for start in range(0, len(points), CHUNK):
        part = points[start : start + CHUNK] - mean
        codes[start : start + CHUNK] = _half_distances(part, centroids - mean).argmin(axis=1)
    return codes


def telling_sample(
    points: Floats, weights: Weights, most: int, random: np.random.Generator
) -> tuple[NDArray[np.int64], Weights]:
    """Points for at most `most` draws: ids, and weights that stand for all.

    Half of the draws go by weight and half by weight times squared length, lest the few large points are missed.
    Up to `most` points come with the weights they have.

    References:
        Bachem, Lucic and Krause, Scalable k-Means Clustering via Lightweight Coresets, 2018.
    """
    if len(weights) <= most:
        return np.arange(len(weights)), weights
    energy = np.square(points).sum(axis=1) * weights
    shares = weights / max(weights.sum(), 1e-300) + energy / max(energy.sum(), 1e-300)
    ends = np.cumsum(shares)
    drawn = np.searchsorted(ends, (np.arange(most) + random.random()) / most * ends[-1], side="right")
    ids, times = np.unique(np.minimum(drawn, len(weights) - 1), return_counts=True)
    return ids, times * weights[ids] / shares[ids]


def group_sums(points: Floats, weights: Weights, codes: NDArray[np.uint8], number: int) -> NDArray[np.float64]:
    """Weighted sums of the points of each code, (number, dimension)."""
    sums = [np.bincount(codes, weights=column * weights, minlength=number) for column in points.T]
    return np.stack(sums, axis=1)


def _half_distances(points: Floats, centroids: Floats) -> Floats:
    """Half the squared distances, less half the square of the point itself."""
    products = points @ centroids.T
    np.subtract(np.square(centroids).sum(axis=1) * np.float32(0.5), products, out=products)
    return np.asarray(products)


def _first_centroids(points: Floats, weights: Weights, number: int, random: np.random.Generator) -> Floats:
    """Some drawn in proportion to their squared distances from those before, of which the best is taken."""
    ids, weights = telling_sample(points, weights, SEEDED_ON, random)
    points = points[ids]
    squares = np.square(points).sum(axis=1)
    chosen: list[int] = []
    gaps = np.full(len(points), np.inf, dtype=np.float32)
    shares = weights
    while len(chosen) < number and shares.any():
        drawn = np.searchsorted(np.cumsum(shares), random.random(TRIALS) * shares.sum(), side="right")
        drawn = np.minimum(drawn, len(points) - 1)
        asked = squares[drawn, None] + squares - 2 * (points[drawn] @ points.T)
        asked = np.minimum(gaps, np.maximum(asked, 0))
        best = int((asked @ weights).argmin())
        gaps = asked[best]
        gaps[drawn[best]] = 0  # what rounding left of it
        chosen.append(int(drawn[best]))
        shares = gaps * weights
    return np.asarray(points[np.resize(chosen, number)])


def _lloyd(points: Floats, weights: Weights, centroids: Floats) -> Floats:
    before = np.inf
    for _ in range(STEPS):
        codes = nearest(points, centroids)
        errors = np.square(points - centroids[codes]).sum(axis=1) * weights
        total = float(errors.sum())
        if total == 0 or total > before * (1 - ENOUGH):
            break
        before = total
        centroids = _moved(points, weights, centroids, codes, errors)
    return centroids


def _moved(points: Floats, weights: Weights, centroids: Floats, codes: NDArray[np.uint8], errors: Weights) -> Floats:
    """Each centroid in the middle of its points; one without points where the largest error is."""
    held = np.bincount(codes, weights=weights, minlength=len(centroids))
    sums = group_sums(points, weights, codes, len(centroids))
    moved = np.where(held[:, None] > 0, sums / np.maximum(held, 1e-300)[:, None], centroids).astype(np.float32)
    empty = np.flatnonzero(held == 0)
    worst = np.argsort(-errors, kind="stable")[: len(empty)]
    worst = worst[errors[worst] > 0]
    moved[empty[: len(worst)]] = points[worst]
    return np.asarray(moved)
