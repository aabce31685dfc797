"""Whole numbers with a scale for every row: how scales are chosen, and what they take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfshop.errors import PlanError
from tfshop.tables import Int2, Int4, Int8, RowwiseLookup


def table(dimension: int = 16) -> np.ndarray:
    random = np.random.default_rng(0)
    return (random.normal(size=(4000, dimension)) * np.exp(random.normal(size=(4000, 1))) * 0.05).astype(np.float32)


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_nothing_is_cut_off_with_max_and_less_error_is_made_with_least_squares(bits: int) -> None:
    rows, codec = table(), RowwiseLookup(bits, "max")
    coded = codec.encode(rows)
    scales = coded.arrays["scales"] if bits == 8 else coded.arrays["scales"].view(np.float16).astype(np.float32)
    assert (np.abs(coded.decode() - rows) <= scales / 2 * (1 + 1e-4)).all()
    assert RowwiseLookup(bits).encode(rows).distortion(rows) < (1 if bits == 8 else 0.95) * coded.distortion(rows)


def test_eight_bits_are_closer_than_with_a_scale_in_a_byte_four_as_close_and_two_are_not() -> None:
    """Two bits have three levels that count, where `Int2` has four."""
    rows = table()
    for ours, theirs, least, most in (
        (RowwiseLookup(8), Int8(), 0.7, 0.95),
        (RowwiseLookup(4), Int4(), 0.9, 1.05),
        (RowwiseLookup(2), Int2(), 1.1, 1.4),
    ):
        assert least < ours.encode(rows).distortion(rows) / theirs.encode(rows).distortion(rows) < most


def test_scales_fit_the_codes_they_are_stored_with() -> None:
    """Of least squares nothing is left to win by another scale, but for what float32 rounds."""
    rows, coded = table(), RowwiseLookup(8).encode(table())
    codes, scales = coded.arrays["codes"].view(np.int8).astype(np.float64), coded.arrays["scales"][:, 0]
    best = (codes * rows).sum(axis=1) / np.square(codes).sum(axis=1)
    assert np.median(np.abs(scales / best - 1)) < 1e-6


@pytest.mark.parametrize(("bits", "wanted"), [(8, 7 + 12), (4, 4 + 2), (2, 2 + 2)])
def test_a_row_starts_with_a_byte_of_its_own(bits: int, wanted: int) -> None:
    coded = RowwiseLookup(bits).encode(table(7))
    assert coded.num_bytes == RowwiseLookup(bits).num_bytes(4000, 7) == 4000 * wanted


def test_numbers_far_too_small_are_zeros() -> None:
    rows = np.array([[1e-36, -1e-36], [1e-9, -1e-9], [0.5, -0.25]], dtype=np.float32)
    for bits, zeros in ((8, 1), (4, 2)):
        assert (RowwiseLookup(bits).encode(rows).decode() == 0).all(axis=1).sum() == zeros


def test_scales_beyond_float16_are_refused_beside_few_bits() -> None:
    rows = np.array([[1e6, 0.0]], dtype=np.float32)
    with pytest.raises(PlanError, match=r"numbers up to 1e\+06.*float16.*Expected.*Fix: RowwiseLookup\(8\)"):
        RowwiseLookup(4).encode(rows)
    assert RowwiseLookup(8).encode(rows).decode()[0, 0] == pytest.approx(1e6, rel=1e-6)


@pytest.mark.parametrize("settings", [{"bits": 3}, {"bits": True}, {"bits": "8"}, {"choice": "weighted"}])
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=r"(bits|choice) is .*Expected.*Fix:"):
        RowwiseLookup(**settings)
