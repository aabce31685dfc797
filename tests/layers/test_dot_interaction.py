"""Dot products of pairs against a loop over them."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from layers.references import normal
from tfshop.layers import DotInteraction


@pytest.mark.parametrize("num_fields", [2, 3, 9])
def test_every_pair_is_there_once_in_order(num_fields: int) -> None:
    fields = normal(5, num_fields, 4)
    pairs = [(fields[:, i] * fields[:, j]).sum(axis=1) for i, j in combinations(range(num_fields), 2)]
    np.testing.assert_allclose(DotInteraction()(fields), np.stack(pairs, axis=1), rtol=1e-4, atol=1e-5)
    assert DotInteraction().compute_output_shape((None, num_fields, 4)) == (None, len(pairs))
