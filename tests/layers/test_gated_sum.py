"""Experts mixed by a gate."""

from __future__ import annotations

import numpy as np

from tfshop._keras import keras
from tfshop.layers import GatedSum


def test_experts_are_added_up_with_the_weights_of_the_gate() -> None:
    rng = np.random.default_rng(0)
    gates, experts = rng.random((5, 3), np.float32), rng.random((5, 3, 4), np.float32)
    mixed = GatedSum()([experts.reshape(5, 12), gates]).numpy()
    np.testing.assert_allclose(mixed, (gates[:, :, None] * experts).sum(axis=1), rtol=1e-5)


def test_the_width_is_known_before_any_row() -> None:
    experts, gates = keras.Input((12,)), keras.Input((3,))
    assert GatedSum()([experts, gates]).shape.as_list() == [None, 4]
    assert GatedSum().compute_output_shape([(None, 12), (None, 3)]) == (None, 4)
