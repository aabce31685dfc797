"""What techniques decide by: kernels, scores, moments, directions and means, gathered when first asked for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras, tf
from tfshop.compression.factoring import Spectrum, spectrum
from tfshop.compression.importance import Importance, Scores, weight_scores
from tfshop.compression.kernels import Kernel, kernels_of
from tfshop.compression.low_rank import factorable
from tfshop.compression.moments import MOMENT_BATCH, MOMENT_ROWS, Moments, input_moments
from tfshop.compression.ranks import Factorable
from tfshop.compression.roles import output_tensors, roles, unwrapped
from tfshop.data.split import Splits
from tfshop.training.inputs import model_specs


class Material:
    """A model and its training rows, as techniques see them.

    Args:
        model: Functional model without submodels, its outputs in the order of the targets; left as it is.
        names: The layers that are to be changed.
        data: Statistics are taken on a sample of the training split.
        seed: Of the sample.
    """

    def __init__(self, model: Any, names: tuple[str, ...], data: Splits, seed: int) -> None:
        self.model = model
        self.names = names
        self.roles: Mapping[str, str] = roles(model)
        self._data = data
        self._seed = seed
        self._scores: dict[Any, Scores] = {}
        self._spectra: dict[str, Spectrum] = {}

    def kernels(self, name: str) -> dict[str, Kernel]:
        """Kernels of a layer."""
        return kernels_of(self.model, [name])

    def is_dense(self, name: str) -> bool:
        """Whether a layer is a Dense of Keras, of which everything is known."""
        return type(unwrapped(self.model.get_layer(name))) is keras.layers.Dense

    def factorable(self, name: str) -> Factorable:
        """Sizes and costs of a Dense layer's kernel."""
        return factorable(self.model, [name], {})[0]

    def scores(self, name: str, importance: Importance) -> Scores:
        """Score of each weight of a layer's kernels, the larger, the more it matters."""
        if importance == "taylor":  # one run over rows serves all layers
            if importance not in self._scores:
                self._scores[importance] = weight_scores(
                    self.model, self.names, importance, self._data, seed=self._seed
                )
            return {kernel: self._scores[importance][kernel] for kernel in self.kernels(name)}
        return weight_scores(self.model, [name], importance, self._data, seed=self._seed)

    def spectrum(self, name: str) -> Spectrum:
        """Directions of a Dense layer's kernel, by what it gives on training rows."""
        if name not in self._spectra:
            kernel = unwrapped(self.model.get_layer(name)).kernel.numpy()
            self._spectra = {name: spectrum(kernel, self._moments[name].second)}  # of the last layer asked for alone
        return self._spectra[name]

    def output_means(self, name: str) -> NDArray[np.float64]:
        """Mean of each unit of a Dense layer on training rows, (units,)."""
        return self._output_means[name]

    @cached_property
    def _dense(self) -> list[str]:
        return [name for name in self.names if self.is_dense(name)]

    @cached_property
    def _moments(self) -> dict[str, Moments]:
        return input_moments(self.model, self._dense, self._data.train, seed=self._seed)

    @cached_property
    def _output_means(self) -> dict[str, NDArray[np.float64]]:
        given = {name: output_tensors(self.model.get_layer(name), self.model) for name in self._dense}
        probe = keras.Model(self.model.inputs, given)

        def gathered(inputs: Any) -> dict[str, Any]:
            return {name: _sum_of_units(tf.nest.flatten(seen)) for name, seen in probe(inputs, training=False).items()}

        sums = tf.function(gathered, reduce_retracing=True)
        sample = self._data.train.take(MOMENT_ROWS, seed=self._seed).with_batch_size(MOMENT_BATCH)
        totals = {name: np.zeros(self.factorable(name).outputs + 1) for name in self._dense}
        for inputs, _ in sample.batches(inputs=model_specs(self.model)):
            for name, found in sums(inputs).items():
                totals[name] += found.numpy()
        return {name: total[:-1] / total[-1] for name, total in totals.items()}


def _sum_of_units(tensors: list[Any]) -> Any:
    """Sum of all vectors along the last axis, and behind it how many there were."""
    vectors = tf.concat([tf.reshape(tensor, (-1, tensor.shape[-1])) for tensor in tensors], axis=0)
    count = tf.cast(tf.shape(vectors)[:1], vectors.dtype)
    return tf.concat([tf.reduce_sum(vectors, axis=0), count], axis=0)
