"""Weights larger than a block are read, written and remembered like any others."""

from __future__ import annotations

import numpy as np
import pytest

from tfshop._keras import tf
from tfshop.training import weights
from tfshop.training.weights import Snapshot, copy_into, read_blocks, write, write_blocks


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows of four float32 a block."""
    monkeypatch.setattr(weights, "BLOCK_BYTES", 48)


@pytest.fixture
def values() -> np.ndarray:
    return np.arange(40, dtype=np.float32).reshape(10, 4)


def test_a_table_comes_in_runs_of_rows(small_blocks: None, values: np.ndarray) -> None:
    blocks = list(read_blocks(tf.Variable(values)))
    assert [block.shape for block in blocks] == [(3, 4), (3, 4), (3, 4), (1, 4)]
    np.testing.assert_array_equal(np.concatenate(blocks), values)


@pytest.mark.parametrize("content", [np.float32(3), np.zeros(0, np.float32), np.arange(4, dtype=np.int64)])
def test_what_is_small_comes_whole(content: np.ndarray) -> None:
    variable, array = tf.Variable(content), np.ones_like(content)
    assert [block.shape for block in read_blocks(variable)] == ([content.shape] if content.size else [])
    copy_into(array, variable)
    np.testing.assert_array_equal(array, content)
    write(variable, np.asarray(array + 1))
    np.testing.assert_array_equal(variable.numpy(), content + 1)


def test_blocks_are_written_where_they_came_from(small_blocks: None, values: np.ndarray) -> None:
    one, other, third = (tf.Variable(tf.zeros((10, 4))) for _ in range(3))
    write(one, values)
    write_blocks(other, read_blocks(one))
    for variable in (one, other):
        np.testing.assert_array_equal(variable.numpy(), values)
    write(third, np.asfortranarray(values))
    np.testing.assert_array_equal(third.numpy(), values)


def test_a_snapshot_remembers_the_last_time_it_was_taken(small_blocks: None, values: np.ndarray) -> None:
    table, bias = tf.Variable(values), tf.Variable(1.0)
    snapshot = Snapshot()
    snapshot.take([table, bias])
    table.assign_add(tf.ones((10, 4)))
    bias.assign(2.0)
    snapshot.take([table, bias])
    arrays = [id(array) for array in snapshot._arrays]
    table.assign(tf.zeros((10, 4)))
    bias.assign(0.0)
    snapshot.put_back([table, bias])
    np.testing.assert_array_equal(table.numpy(), values + 1)
    assert bias.numpy() == 2.0
    snapshot.take([table, bias])
    assert [id(array) for array in snapshot._arrays] == arrays, "no second copy beside the first"
