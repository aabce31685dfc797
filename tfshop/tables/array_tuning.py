"""What lookups have beside their rows while they learn: projections, means, and a factor for each id."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras, tf
from tfshop.tables.tuning import TunedTable, straight_through


class TunedArray(TunedTable):
    """An array that all ids share.

    Args:
        values: float32, where training starts.
        stored: What a file would hold of the values, a tensor whose gradient reaches them.
        name: That of the array.
    """

    def __init__(self, values: NDArray[np.float32], stored: Callable[[Any], Any], *, name: str) -> None:
        super().__init__(name=name)
        self._stored = stored
        self.values = self.add_weight("values", values.shape, initializer=keras.initializers.Constant(values))

    def looked_up(self, ids: Any) -> Any:
        """The array, whatever the ids."""
        return self._stored(self.values)

    def frozen(self) -> Mapping[str, NDArray[Any]]:
        """The array."""
        return {self.name: self._stored(self.values).numpy()}


class TunedFactors(TunedTable):
    """A factor for each id, the nearest of some levels.

    Gradients pass the choice of the level as if it were none, where nothing is cut off.

    Args:
        factors: float32 (num_rows,), where training starts.
        levels: float32, ascending.
        codes: uint8 (num_rows, 2): what stays, and the level.
        name: That of the array of codes.
    """

    def __init__(
        self, factors: NDArray[np.float32], levels: NDArray[np.float32], codes: NDArray[np.uint8], *, name: str
    ) -> None:
        super().__init__(name=name)
        self._levels, self._codes = levels, codes
        self.factors = self.add_weight("factors", factors.shape, initializer=keras.initializers.Constant(factors))

    def looked_up(self, ids: Any) -> Any:
        """Factors (…, 1) of ids."""
        exact = tf.clip_by_value(tf.gather(self.factors, ids), self._levels[0], self._levels[-1])
        nearest = tf.searchsorted(middles(self._levels).astype(np.float32), tf.reshape(exact, [-1]))
        rounded = tf.reshape(tf.gather(self._levels, nearest), tf.shape(exact))
        return tf.expand_dims(straight_through(exact, rounded), -1)

    def frozen(self) -> Mapping[str, NDArray[Any]]:
        """The codes with the levels as they are now."""
        nearest = np.searchsorted(middles(self._levels), self.factors.numpy())
        return {self.name: np.stack([self._codes[:, 0], nearest.astype(np.uint8)], axis=1)}


def middles(levels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Where one level becomes the nearest instead of the one before."""
    return np.asarray((levels[1:].astype(np.float64) + levels[:-1]) / 2)
