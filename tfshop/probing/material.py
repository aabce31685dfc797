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
from tfshop.compression.roles import calls_of, roles, unwrapped
from tfshop.compression.rounded_tensors import behind_activation, left_in_float, with_activations_apart
from tfshop.compression.score_slopes import output_slopes
from tfshop.compression.units.scoring import Judge
from tfshop.data.split import Splits
from tfshop.evaluation.measured import downloaded_bytes
from tfshop.export import Export
from tfshop.models.rebuild import calls_in_order
from tfshop.numerics import Grid, Histogram
from tfshop.probing.change import Place
from tfshop.probing.ranges import Rounded
from tfshop.probing.unit_groups import UnitGroups
from tfshop.training.inputs import model_specs
from tfshop.training.tracing import for_batches


class Material:
    """A copy of a model and its training rows, as techniques see them.

    In the copy, what Dense layers give before an activation that no operator fuses is a tensor of its own.

    Args:
        model: Functional model without submodels, its outputs in the order of the targets; left as it is.
        names: The layers that are to be changed.
        data: Statistics are taken on a sample of the training split.
        seed: Of the sample.
    """

    def __init__(self, model: Any, names: tuple[str, ...], data: Splits, seed: int) -> None:
        self.model = with_activations_apart(model, names)
        self.names = names
        self.roles: Mapping[str, str] = roles(model)
        self._data = data
        self._seed = seed
        self._scores: dict[Any, Scores] = {}
        self._units: dict[Judge, UnitGroups] = {}
        self._spectra: dict[tuple[str, bool, bool], Spectrum] = {}
        self._histograms: dict[int, Mapping[str, Histogram]] = {}
        self._downloaded: dict[str, dict[str, int]] = {}

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

    def unit_groups(self, judge: Judge) -> UnitGroups:
        """What PruneUnits could take, by the importance of a judge."""
        if judge not in self._units:
            self._units[judge] = UnitGroups(self.model, self.names, judge, self._data, self._seed)
        return self._units[judge]

    def downloaded(self, name: str) -> dict[str, int]:
        """Size of each kernel of a layer as it is downloaded."""
        if name not in self._downloaded:
            kernels = self.kernels(name)
            self._downloaded[name] = {key: downloaded_bytes(k.variable.numpy().tobytes()) for key, k in kernels.items()}
        return self._downloaded[name]

    def spectrum(self, name: str, *, whiten: bool = True, weigh: bool = False) -> Spectrum:
        """Directions of a Dense layer's kernel, as LowRank takes them."""
        if (name, whiten, weigh) not in self._spectra:
            kernel = unwrapped(self.model.get_layer(name)).kernel.numpy()
            slopes = self._slopes.get(name) if weigh else None
            found = spectrum(kernel, self._moments[name].second if whiten else None, slopes)
            self._spectra = {(name, whiten, weigh): found}  # of the last layer asked for alone
        return self._spectra[name, whiten, weigh]

    def given(self, name: str) -> list[Any]:
        """Symbolic tensors that a layer gives, behind its activation."""
        return behind_activation(self.model.get_layer(name), self.model)

    def places(self, name: str) -> tuple[Place, ...]:
        """Tensors that are rounded where a layer is int8; none around a table."""
        return () if self.roles[name] == "table" else self._rounded.places[name]

    def grids(self, name: str, exporter: Export, bits: int) -> dict[Place, Grid]:
        """Levels of these tensors, from the exporter's ranges."""
        rows = exporter.calibration_rows
        if rows not in self._histograms:
            calibration = exporter.calibration(self.model, self._data, self._seed)
            self._histograms[rows] = self._rounded.histograms(calibration)
        found = self._histograms[rows]
        return {place: self._rounded.grid(place, found, exporter, bits) for place in self.places(name)}

    @cached_property
    def in_float(self) -> dict[str, str]:
        """Layers that an int8 file has in float, each with the reason."""
        return left_in_float(self.model)

    def takes_means(self, name: str) -> bool:
        """Whether it is a Dense layer of one call, and plain ones with biases alone read what it gives.

        They may read it through Dropout and beside other columns. Whatever its units give on average can go into
        their biases.
        """
        given = self.given(name)
        if not self.is_dense(name) or len(given) > 1:
            return False
        seen = set(map(id, given))
        for node in calls_in_order(self.model):
            if seen.isdisjoint(map(id, node.keras_inputs)):
                continue
            if _lays_columns(node):
                seen.update(map(id, tf.nest.flatten(node.outputs)))
            elif not _has_biases(node.layer) or len(calls_of(node.layer, self.model)) > 1:
                return False
        return seen.isdisjoint(map(id, self.model.outputs))

    def output_means(self, name: str) -> NDArray[np.float64]:
        """Mean of each unit of a Dense layer on training rows, (units,)."""
        return self._output_means[name]

    @cached_property
    def _slopes(self) -> Mapping[str, NDArray[np.float64]]:
        """Of the scores, for each Dense layer; none for one that trained with rounding, where LowRank is refused."""
        plain = [name for name in self._dense if type(self.model.get_layer(name)) is keras.layers.Dense]
        return output_slopes(self.model, plain, self._data.train, seed=self._seed)

    @cached_property
    def _rounded(self) -> Rounded:
        return Rounded(self.model, tuple(name for name in self.names if self.roles[name] != "table"))

    @cached_property
    def _dense(self) -> list[str]:
        return [name for name in self.names if self.is_dense(name)]

    @cached_property
    def _moments(self) -> dict[str, Moments]:
        return input_moments(self.model, self._dense, self._data.train, seed=self._seed)

    @cached_property
    def _output_means(self) -> dict[str, NDArray[np.float64]]:
        probe = keras.Model(self.model.inputs, {name: self.given(name) for name in self._dense})

        def gathered(inputs: Any) -> dict[str, Any]:
            return {name: _sum_of_units(tf.nest.flatten(seen)) for name, seen in probe(inputs, training=False).items()}

        sample = self._data.train.take(MOMENT_ROWS, seed=self._seed).with_batch_size(MOMENT_BATCH)
        sums = for_batches(gathered, self.model, sample.num_batches)
        totals = {name: np.zeros(self.factorable(name).outputs + 1) for name in self._dense}
        for inputs, _ in sample.batches(inputs=model_specs(self.model)):
            for name, found in sums(inputs).items():
                totals[name] += found.numpy()
        return {name: total[:-1] / total[-1] for name, total in totals.items()}


def _lays_columns(node: Any) -> bool:
    """Whether a call gives what it reads, beside other columns at most."""
    if type(node.layer) is keras.layers.Concatenate:
        return node.layer.axis in {-1, len(node.keras_inputs[0].shape) - 1}
    return type(node.layer) is keras.layers.Dropout


def _has_biases(layer: Any) -> bool:
    return type(layer) is keras.layers.Dense and bool(layer.use_bias)


def _sum_of_units(tensors: list[Any]) -> Any:
    """Sum of all vectors along the last axis, and behind it how many there were."""
    vectors = tf.concat([tf.reshape(tensor, (-1, tensor.shape[-1])) for tensor in tensors], axis=0)
    count = tf.cast(tf.shape(vectors)[:1], vectors.dtype)
    return tf.concat([tf.reduce_sum(vectors, axis=0), count], axis=0)
