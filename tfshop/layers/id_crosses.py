"""Cross-product features: a pair of ids becomes an id of its own, with integer arithmetic inside the graph."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from typing import Any

from tfshop._keras import keras, tf

GOLDEN = 0.6180339887


@keras.utils.register_keras_serializable(package="tfshop")
class IdCrosses(keras.layers.Layer):
    r"""Rows of a merged table, one for each pair of columns: `(left \cdot m + right) \bmod b + offset`.

    A cross whose pairs all have room gets a row for each; one that has more pairs than `buckets` shares rows. Ids are
    ordered by frequency, and a multiplier near `0.618 b` keeps pairs of frequent ids apart.

    Args:
        left: Column of each pair's first id.
        right: Column of each pair's second id.
        sizes: Rows of the tables of both, one (left, right) a pair.
        buckets: Most rows of one cross.

    Call:
        ids: int32 (batch, num_columns). Returns int32 (batch, num_pairs), all below `num_rows`.

    Example:
        >>> crosses = IdCrosses([0], [1], [(3, 4)], buckets=100)  # 3 x 4 pairs: a row each
        >>> crosses.num_rows, crosses(tf.constant([[2, 1]])).numpy().tolist()
        (12, [[9]])

    References:
        Cheng et al., Wide & Deep Learning for Recommender Systems, DLRS 2016, section 3.1; the multiplier is that of
        Fibonacci hashing: Knuth, The Art of Computer Programming 3, section 6.4.
    """

    def __init__(
        self,
        left: Sequence[int],
        right: Sequence[int],
        sizes: Sequence[tuple[int, int]],
        buckets: int = 10_000,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.left = [int(column) for column in left]
        self.right = [int(column) for column in right]
        self.sizes = [(int(first), int(second)) for first, second in sizes]
        self.buckets = int(buckets)
        self.rows = [min(first * second, self.buckets) for first, second in self.sizes]

    @property
    def num_rows(self) -> int:
        """Rows of the table that the crosses are looked up in."""
        return sum(self.rows)

    def call(self, ids: Any) -> Any:
        """Join the ids of each pair (batch, num_columns)."""
        multipliers = [self._multiplier(pair, rows) for pair, rows in zip(self.sizes, self.rows, strict=True)]
        starts = [sum(self.rows[:position]) for position in range(len(self.rows))]
        rows = tf.constant([self.rows], tf.int64)
        left = tf.cast(tf.gather(ids, self.left, axis=1), tf.int64)  # a product of two ids can pass 2^31
        right = tf.cast(tf.gather(ids, self.right, axis=1), tf.int64)
        joined = tf.math.floormod(left * tf.constant([multipliers], tf.int64) + right, rows)
        return tf.cast(joined + tf.constant([starts], tf.int64), ids.dtype)

    @staticmethod
    def _multiplier(pair: tuple[int, int], rows: int) -> int:
        """What keeps pairs apart: the size of the right table, or a number that shares no factor with the rows."""
        if pair[0] * pair[1] <= rows:
            return pair[1]
        multiplier = max(round(GOLDEN * rows), 1)
        while gcd(multiplier, rows) > 1:
            multiplier += 1
        return multiplier

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(batch, num_pairs)."""
        return (input_shape[0], len(self.left))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"left": self.left, "right": self.right, "sizes": self.sizes, "buckets": self.buckets}
        return {**super().get_config(), **own}
