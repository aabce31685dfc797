"""All pairwise products in linear time."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from tfshop.layers import FactorizationMachine


@pytest.mark.parametrize("num_fields", [2, 3, 9])
def test_the_sum_over_all_pairs_is_that_of_the_loop_it_replaces(num_fields: int) -> None:
    fields = np.random.default_rng(num_fields).normal(size=(5, num_fields, 4)).astype(np.float32)
    pairs = [(fields[:, i] * fields[:, j]).sum(axis=1) for i, j in combinations(range(num_fields), 2)]
    np.testing.assert_allclose(FactorizationMachine()(fields).numpy()[:, 0], sum(pairs), rtol=1e-4, atol=1e-5)


def test_a_single_field_has_no_pairs() -> None:
    fields = np.random.default_rng(0).normal(size=(3, 1, 4)).astype(np.float32)
    np.testing.assert_allclose(FactorizationMachine()(fields), np.zeros((3, 1)), atol=1e-6)
