"""Numbers in a compiled graph by which a change is put around a layer, and taken away again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfshop._keras import tf
from tfshop.numerics import Grid
from tfshop.probing.change import Change
from tfshop.probing.graph import Edit, Edits, key
from tfshop.probing.material import Material

OFF = np.zeros(4, np.float32)


class Switches:
    """What of a change is no weight: units that give the same for every row, and tensors that are rounded.

    Args:
        material: Of the network.
        layer: The layer around which they lie.
    """

    def __init__(self, material: Material, layer: str) -> None:
        self._layer = layer
        self._grids = {place: tf.Variable(OFF) for place in material.places(layer)}
        self._units = _Units(material.factorable(layer).outputs) if material.is_dense(layer) else None
        self._given = [key(tensor) for tensor in material.given(layer)]

    @property
    def edits(self) -> Edits:
        """For `Graph.run`: nothing is edited until a change is set."""
        read, given = {}, dict[str, Edit]()
        if self._units is not None:
            given = dict.fromkeys(self._given, self._units)
        for place, grid in self._grids.items():
            if place.is_read:
                read[self._layer, place.tensor] = _rounding(grid)
            else:
                given[place.tensor] = _rounding(grid, given.get(place.tensor))
        return Edits(read, given)

    def set(self, change: Change | None = None) -> None:
        """Turn on what a change has; without one, turn everything off."""
        grids: Mapping[Any, Grid] = {} if change is None else change.grids
        for place, variable in self._grids.items():
            variable.assign(_numbers(grids[place]) if place in grids else OFF)
        if self._units is not None:
            self._units.fix({} if change is None else change.fixed)


class _Units:
    """An edit that has some units give the same for every row."""

    def __init__(self, count: int) -> None:
        self._keep, self._fill = tf.Variable(tf.ones(count)), tf.Variable(tf.zeros(count))

    def __call__(self, value: Any) -> Any:
        return value * self._keep + self._fill

    def fix(self, units: Mapping[int, float]) -> None:
        """Say which, and what they give."""
        keep, fill = np.ones(self._keep.shape, np.float32), np.zeros(self._keep.shape, np.float32)
        keep[list(units)], fill[list(units)] = 0.0, list(units.values())
        self._keep.assign(keep)
        self._fill.assign(fill)


def _rounding(grid: Any, before: Edit | None = None) -> Edit:
    """An edit that rounds to the grid of a variable, behind another edit."""

    def rounded(value: Any) -> Any:
        value = value if before is None else before(value)
        scale, zero_point, lowest, highest = tf.unstack(tf.cast(grid, value.dtype))
        levels = tf.clip_by_value(tf.round(value / scale) + zero_point, lowest, highest)
        return tf.where(scale > 0, scale * (levels - zero_point), value)

    return rounded


def _numbers(grid: Grid) -> Any:
    return np.array([grid.scale, grid.zero_point, grid.lowest, grid.highest], np.float32)
