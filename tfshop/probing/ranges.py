"""Grids of the tensors around each layer, from the rows that the exporter calibrates on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfshop._keras import keras, tf
from tfshop.compression.rounded_tensors import given_in_integers, read_in_integers
from tfshop.export import Export
from tfshop.export.settings import RECORDED, Batches
from tfshop.layers import OutputRange
from tfshop.numerics import Grid, Histogram, asymmetric_grid, choose_range, symmetric_grid
from tfshop.probing.change import Place
from tfshop.probing.graph import key

Range = tuple[float, float]
ASYMMETRIC_BITS = 8  # int16 activations lie evenly around zero


class Rounded:
    """The tensors around some layers that are integers where the layer is; ranges that a QAT trained stay.

    Args:
        model: Functional model without submodels, activations apart.
        names: The layers.
    """

    def __init__(self, model: Any, names: tuple[str, ...]) -> None:
        self._model = model
        self._tensors: dict[str, Any] = {}
        self._fixed: dict[str, Range] = {}
        self.places = {name: self._find(model.get_layer(name)) for name in names}

    def histograms(self, calibration: Batches) -> dict[str, Histogram]:
        """What each tensor held, by key."""
        measured = {name: tensor for name, tensor in self._tensors.items() if name not in self._fixed}
        probe = keras.Model(self._model.inputs, measured)
        run = tf.function(lambda inputs: probe(inputs, training=False), reduce_retracing=True)
        found = {name: Histogram() for name in measured}
        for inputs in calibration():
            for name, values in run({name: tf.constant(column) for name, column in inputs.items()}).items():
                found[name].add(values.numpy())
        return found

    def grid(self, place: Place, seen: Mapping[str, Histogram], exporter: Export, bits: int) -> Grid:
        """Levels of one tensor, from the range that the exporter would choose."""
        low, high = self._fixed.get(place.tensor) or _chosen(seen[place.tensor], exporter)
        if bits == ASYMMETRIC_BITS:
            return asymmetric_grid(low, high, bits)
        return symmetric_grid(max(abs(low), abs(high)), bits)

    def _find(self, layer: Any) -> tuple[Place, ...]:
        places = [self._place(tensor, is_read=True) for tensor in read_in_integers(layer, self._model)]
        for given in given_in_integers(layer, self._model):
            places.append(self._place(given.tensor, is_read=False))
            if given.fixed is not None:
                self._fixed[key(given.tensor)] = given.fixed
        return tuple(dict.fromkeys(places))

    def _place(self, tensor: Any, *, is_read: bool) -> Place:
        self._tensors[key(tensor)] = tensor
        maker = tensor._keras_history.layer
        if isinstance(maker, OutputRange):
            self._fixed[key(tensor)] = (maker.minimum, maker.maximum)
        return Place(key(tensor), is_read)


def _chosen(histogram: Histogram, exporter: Export) -> Range:
    if histogram.count == 0:  # nothing finite
        return (0.0, 0.0)
    method = "minmax" if exporter.ranges == RECORDED else exporter.ranges
    return choose_range(histogram, method, percentile=exporter.percentile)
