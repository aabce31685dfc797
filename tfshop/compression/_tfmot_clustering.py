"""TF-MOT's clustering wrapper, for layers it has no rule for too, with a lookup whose cost does not grow."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfshop._keras import tf
from tfshop.compression._tfmot import ClusterableLayer, ClusteringAlgorithm, clustering
from tfshop.compression._tfmot_wrappers import SharedLayer
from tfshop.compression.kernels import kernel_variables
from tfshop.models.rebuild import foreign_parts, fresh

INITIALIZATIONS = {
    "kmeans++": clustering.CentroidInitialization.KMEANS_PLUS_PLUS,
    "linear": clustering.CentroidInitialization.LINEAR,
    "density": clustering.CentroidInitialization.DENSITY_BASED,
}
REFINEMENTS = 20


class SortedLookup(ClusteringAlgorithm):
    """The nearest centroid by its place in order.

    TF-MOT compares each weight with each centroid, at every step and in as much memory.
    """

    def get_pulling_indices(self, weight: Any, centroids: Any = None) -> Any:
        """Number of the nearest centroid of each weight, int64 of the weights' shape."""
        centroids = self.cluster_centroids if centroids is None else centroids
        order = tf.argsort(centroids)
        ascending = tf.gather(centroids, order)
        between = (ascending[1:] + ascending[:-1]) / 2.0
        places = tf.searchsorted(between, tf.reshape(weight, (-1,)))
        return tf.cast(tf.reshape(tf.gather(order, places), tf.shape(weight)), tf.int64)


def clusterable(layer: Any) -> bool:
    """Whether the wrapper can hold a layer: its kernels are its own, and nothing of it is written by others."""
    own = {id(value) for value in vars(layer).values()}
    return not foreign_parts(layer) and all(id(variable) in own for variable in kernel_variables(layer))


def in_wrapper(layer: Any, shape: Any, clusters: int, initialization: str) -> Any:
    """A copy of a layer in TF-MOT's wrapper, which keeps zeros where there are some.

    It is built with the layer's weights, because the wrapper lays its centroids among those it finds when it is built.

    Args:
        layer: Built, with kernels of its own.
        shape: Of what it reads.
        clusters: Distinct numbers in each kernel.
        initialization: Key of `INITIALIZATIONS`.
    """
    pruned = any((variable.numpy() == 0).any() for variable in kernel_variables(layer))
    made = _declared(layer)
    made.build(shape)
    made.set_weights(layer.get_weights())
    return SharedLayer(
        made, clusters, INITIALIZATIONS[initialization], preserve_sparsity=bool(pruned), name=f"cluster_{layer.name}"
    )


def _declared(layer: Any) -> Any:
    """A fresh layer that tells TF-MOT its kernels; its own table lacks EinsumDense and our layers."""
    made = fresh(layer)
    names = {id(value): name for name, value in vars(layer).items()}
    kernels = tuple(names[id(variable)] for variable in kernel_variables(layer))

    class Declared(type(made), ClusterableLayer):  # type: ignore[misc]
        def get_clusterable_weights(self) -> list[tuple[str, Any]]:
            return [(name, getattr(self, name)) for name in kernels]

        def get_clusterable_algorithm(self, weight_name: str) -> Any:
            return SortedLookup

    made.__class__ = Declared
    return made


def refine(wrapper: Any) -> None:
    """Move centroids to the means of their weights until they rest (Lloyd): TF-MOT begins with single weights."""
    for name, centroids in wrapper.cluster_centroids.items():
        weights = wrapper.original_clusterable_weights[name].numpy().ravel().astype(np.float64)
        moved = np.sort(centroids.numpy().astype(np.float64))
        held = int(np.argmin(np.abs(moved))) if wrapper.preserve_sparsity else None
        if held is not None:
            weights = weights[weights != 0]
        for _ in range(REFINEMENTS):
            nearest = np.searchsorted((moved[1:] + moved[:-1]) / 2, weights)
            counts = np.bincount(nearest, minlength=moved.size)
            means = np.bincount(nearest, weights, minlength=moved.size) / np.maximum(counts, 1)
            after = np.where(counts > 0, means, moved)
            if held is not None:
                after[held] = 0.0
            if np.allclose(after, moved, rtol=0, atol=1e-7):
                break
            moved = after
        centroids.assign(moved.astype(np.float32))
        if held is not None:
            wrapper.zero_idx[name] = tf.constant(held, tf.int64)
            zeros = wrapper.original_clusterable_weights[name].numpy() != 0
            wrapper.sparsity_masks[name] = tf.constant(zeros, tf.float32)


def clustered_weights(wrapper: Any) -> list[np.ndarray]:
    """The layer's weights, its kernels on their centroids, in the order of the plain layer."""
    wrapper.update_clustered_weights_associations()
    weights = list(wrapper.layer.get_weights())
    for position, name in sorted(wrapper.position_original_weights.items()):
        weights.insert(position, np.asarray(wrapper.get_weight_from_layer(name)))
    return weights
