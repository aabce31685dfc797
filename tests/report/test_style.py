"""One look, the same in every picture, that leaves matplotlib's own settings alone."""

from __future__ import annotations

from itertools import pairwise

import matplotlib as mpl
import pytest

from tfshop.report.style import BASELINE_COLOR, MARKERS, house_style, looks, new_panels, spread, wrapped


def test_twelve_files_look_different_without_colour_too():
    found = looks([str(number) for number in range(12)])
    assert len({look.marker for look in found.values()}) == 12 <= len(MARKERS)
    assert len({(look.color, str(look.line)) for look in found.values()}) == 12
    assert BASELINE_COLOR not in {look.color for look in found.values()}


def test_a_file_keeps_its_look_when_files_are_added_after_it():
    assert looks(["a", "b"])["b"] == looks(["a", "b", "c"])["b"]


def test_settings_come_back():
    before = dict(mpl.rcParams)
    with house_style():
        assert mpl.rcParams["axes.spines.top"] is False
    assert dict(mpl.rcParams) == before


def test_drawing_selects_no_backend_and_needs_no_window():
    """The figure is built without pyplot, so nothing is left open and no display is asked for."""
    figure = new_panels("title", "note", height=2).figure
    assert figure.canvas.manager is None


@pytest.mark.parametrize("name", ["int8", "a_very_long_name_with_underscores", "a b - c d + e f ( g )", "x" * 40])
def test_wrapping_keeps_every_character(name):
    lines = wrapped(name, 12).split("\n")
    assert "".join(lines).replace(" ", "") == name.replace(" ", "")
    assert max(len(line) for line in lines) <= 12


def test_equal_places_are_spread_evenly_and_others_stay():
    assert spread([3.0, 1.0, 1.0, 1.0], gap=0.5) == pytest.approx([3.0, 0.5, 1.0, 1.5])


def test_spread_places_keep_their_order_and_distance():
    places = spread([1.0, 1.02, 1.05, 1.3, 1.31, 2.0], gap=0.1)
    assert places == sorted(places)
    assert min(b - a for a, b in pairwise(places)) >= 0.1 - 1e-9
