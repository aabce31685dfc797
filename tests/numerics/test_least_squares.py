"""Channels that are treated together get the scales they would get alone."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from tfshop.numerics import least_squares

MODULE = sys.modules["tfshop.numerics.least_squares"]  # the function of the same name hides it


def scale_alone(values: NDArray[np.float64], highest: int) -> float:
    """One channel by itself: every crossing in turn, zeros left out."""
    sizes = np.abs(values[values != 0])
    if sizes.size == 0:
        return 1.0
    levels = np.arange(1, highest + 1)
    order = np.argsort(-(sizes[:, None] / (levels - 0.5)).ravel(), kind="stable")
    products = np.cumsum(np.repeat(sizes, highest)[order])
    squares = np.cumsum(np.tile(2 * levels - 1, sizes.size)[order])
    best = int(np.argmax(products**2 / squares))
    return float(products[best] / squares[best])


@pytest.mark.parametrize("block", [1, 300, 2**14])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize(("shape", "axis"), [((40, 7), 0), ((40, 7), 1), ((5, 6, 4), -1), ((3, 50), None), ((9, 1), 0)])
def test_blocks_of_channels_change_nothing(
    shape: tuple[int, ...], axis: int | None, bits: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, "BLOCK_CROSSINGS", block)
    random = np.random.default_rng(bits)
    values = np.round(random.standard_t(3, size=shape), 2)  # with ties
    values[random.random(shape) < 0.3] = 0.0
    values[0] = 0.0
    channels = values.reshape(1, -1) if axis is None else np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    highest = 2 ** (bits - 1) - 1
    wanted = [scale_alone(channel, highest) for channel in channels]
    found = least_squares(values, bits, axis, method="exact")
    np.testing.assert_allclose(found.scale.ravel(), wanted, rtol=1e-12)
    assert found.scale.shape == (
        () if axis is None else tuple(n if i == axis % len(shape) else 1 for i, n in enumerate(shape))
    )
