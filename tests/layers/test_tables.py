"""Ids that are local to a feature find their row in the merged table."""

from __future__ import annotations

import numpy as np

from tfshop._keras import tf
from tfshop.layers import FieldOffsets


def test_each_column_is_shifted_by_its_own_offset_and_stays_an_integer() -> None:
    rows = FieldOffsets([0, 10, 300])(tf.constant([[1, 2, 0], [9, 0, 7]], tf.int32))
    assert rows.numpy().tolist() == [[1, 12, 300], [9, 10, 307]]
    assert rows.dtype == tf.int32


def test_one_offset_serves_a_whole_sequence() -> None:
    assert FieldOffsets([4])(tf.constant([[0, 1, 2]])).numpy().tolist() == [[4, 5, 6]]


def test_ids_beyond_float_precision_stay_exact() -> None:
    """2^24 + 1 has no float32."""
    assert FieldOffsets([1])(tf.constant([[2**24]])).numpy().tolist() == [[2**24 + 1]]


def test_offsets_are_made_again_from_their_configuration() -> None:
    layer = FieldOffsets(np.array([0, 5]))
    assert FieldOffsets.from_config(layer.get_config())(tf.constant([[1, 1]])).numpy().tolist() == [[1, 6]]
