"""Ids with several rows of a hashed table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from tfshop._keras import keras, tf


@keras.utils.register_keras_serializable(package="tfshop")
class HashSum(keras.layers.Layer):
    """The rows of each id added up: one field a feature, whatever the number of its hashes.

    Two ids that share one row seldom share the others, so that their sums differ.

    Args:
        hashes: How many neighbouring columns belong to each feature.

    Call:
        rows: float32 (batch, sum(hashes), dimension). Returns float32 (batch, len(hashes), dimension).

    Example:
        >>> HashSum([1, 2])(tf.constant([[[1.0], [10.0], [100.0]]])).numpy().tolist()
        [[[1.0], [110.0]]]

    References:
        Svenstrup et al., Hash Embeddings for Efficient Word Representations, NeurIPS 2017; with equal weights as in
        Serra & Karatzoglou, Getting Deep Recommenders Fit: Bloom Embeddings, RecSys 2017.
    """

    def __init__(self, hashes: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hashes = [int(count) for count in hashes]

    def call(self, rows: Any) -> Any:
        """Add the rows of each feature up."""
        fields = [self._added(rows[:, start : start + size], count) for start, size, count in self._runs()]
        return fields[0] if len(fields) == 1 else tf.concat(fields, axis=1)

    def _runs(self) -> Iterator[tuple[int, int, int]]:
        """Neighbouring features with as many hashes: first column, number of columns, hashes."""
        start = 0
        for count, features in groupby(self.hashes):
            size = count * len(list(features))
            yield start, size, count
            start += size

    @staticmethod
    def _added(rows: Any, count: int) -> Any:
        if count == 1:
            return rows
        return tf.reduce_sum(tf.reshape(rows, (-1, rows.shape[1] // count, count, rows.shape[2])), axis=2)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(batch, num_features, dimension)."""
        return (input_shape[0], len(self.hashes), input_shape[2])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "hashes": self.hashes}
