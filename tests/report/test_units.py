"""Numbers are written as people read them."""

from __future__ import annotations

import pytest

from tfshop.evaluation import AucDifference
from tfshop.report.units import difference_text, size_text, size_tick, time_text, times_text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.00 kB"),
        (9_996, "10.0 kB"),
        (99_960, "100 kB"),
        (999_600, "1.00 MB"),
        (739_912, "740 kB"),
        (66_800_000, "66.8 MB"),
        (2_300_000_000, "2.30 GB"),
    ],
)
def test_sizes_have_three_figures(size, text):
    assert size_text(size) == text


def test_ticks_have_no_empty_zeros():
    assert [size_tick(size) for size in (500, 5_000_000, 1_500_000)] == ["500 B", "5 MB", "1.5 MB"]


@pytest.mark.parametrize(("microseconds", "text"), [(1.7, "1.70 us"), (23.9, "23.9 us"), (1_080, "1.08 ms")])
def test_times_have_three_figures(microseconds, text):
    assert time_text(microseconds) == text


def test_ratios_have_two_figures():
    assert [times_text(ratio) for ratio in (0.5, 3.94, 31.4)] == ["0.5x", "3.9x", "31x"]


def test_a_difference_shows_its_sign_and_interval():
    assert difference_text(AucDifference(-0.0002, -0.0004, 0.00001, 0.0001, 0.05)) == "-0.0002 [-0.0004, +0.0000]"
    assert difference_text(None) == "-"
