from __future__ import annotations

import numpy as np
import pytest

from tfshop._keras import keras
from tfshop.layers import HashSum


@pytest.mark.parametrize("hashes", [[2], [1, 2], [2, 2, 2], [1, 1, 3, 3, 1, 2]])
def test_the_rows_of_each_feature_are_added_up(hashes):
    rows = np.random.default_rng(0).normal(size=(5, sum(hashes), 4)).astype(np.float32)
    ends = np.cumsum(hashes)
    expected = np.stack(
        [rows[:, end - count : end].sum(axis=1) for end, count in zip(ends, hashes, strict=True)], axis=1
    )
    layer = HashSum(hashes)
    np.testing.assert_allclose(layer(rows), expected, rtol=1e-6)
    assert layer.compute_output_shape((None, sum(hashes), 4)) == (None, len(hashes), 4)


def test_it_comes_back_from_its_config():
    layer = HashSum([1, 2], name="sum")
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert again.hashes == [1, 2] and again.name == "sum"
