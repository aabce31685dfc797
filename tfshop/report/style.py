"""One look for all pictures: readable in print, without colour, and with any kind of colour vision."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from tfshop.report.units import size_tick

# Okabe & Ito, Color Universal Design, 2008; without its yellow, which white paper swallows.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
BASELINE_COLOR = "#000000"
MUTED = "#5F6770"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "h", "<", ">", "*")
LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)))
PARTS = {"tables": ("#0072B2", ""), "dense": ("#E69F00", "///"), "rest": ("#B8BEC4", "...")}

WIDTH_INCHES = 9.0
TITLE_WIDTH = 84  # characters of a line of a figure's title
NAME_WIDTH = 26  # characters before a name is wrapped
LEGEND_NAME_WIDTH = 28
LEGEND_WIDTH = 112  # characters that fit beside each other

# Any: matplotlib spells its settings as literals from 3.11 on, as plain strings before.
SETTINGS: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelsize": 9.5,
    "axes.labelcolor": "#30363D",
    "axes.edgecolor": "#9AA2AA",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E7EA",
    "grid.linewidth": 0.8,
    "xtick.color": "#30363D",
    "ytick.color": "#30363D",
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "lines.linewidth": 1.7,
    "lines.markersize": 6.5,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "hatch.linewidth": 0.7,
    "hatch.color": "#FFFFFF",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "tfshop",
    # A name with two dollar signs is a name, not a formula.
    "text.parse_math": False,
}


@dataclass(frozen=True)
class Look:
    """How one file is drawn in every picture."""

    color: str
    marker: str
    line: Any


BASELINE_LOOK = Look(BASELINE_COLOR, "o", "-")


def looks(names: Sequence[str]) -> dict[str, Look]:
    """A look for each name: by order, so that a file keeps its colour and marker from picture to picture."""
    return {
        name: Look(COLORS[i % len(COLORS)], MARKERS[i % len(MARKERS)], LINES[i // len(COLORS) % len(LINES)])
        for i, name in enumerate(names)
    }


def wrapped(name: str, width: int = NAME_WIDTH) -> str:
    """A name over several lines where it is long, broken at spaces and hyphens, or after an underscore.

    Example:
        >>> wrapped("int4_tables_with_a_scale", width=16).split(chr(10))
        ['int4_tables_', 'with_a_scale']
    """
    lines = textwrap.wrap(name.replace("_", "_-"), width, break_on_hyphens=True)
    return "\n".join(lines).replace("_-", "_") or name


@contextmanager
def house_style() -> Iterator[None]:
    """Everything drawn inside has the house's look; matplotlib's own settings come back afterwards."""
    with mpl.rc_context(SETTINGS):
        yield


@dataclass(frozen=True)
class Panels:
    """A figure, its panels row by row, and room for a legend under them where it cannot cover a point."""

    figure: Figure
    axes: tuple[Axes, ...]
    legend_axes: Axes
    legend: tuple[str, ...]


def new_panels(
    title: str, note: str, *, height: float, grid: tuple[int, int] = (1, 1), legend: Sequence[str] = ()
) -> Panels:
    """Empty panels with a title above and a small note on how to read them below.

    Args:
        title: What is to be seen.
        note: How to read it.
        height: Of the panels, in inches.
        grid: Rows and columns of panels.
        legend: Labels of what the legend will name, in its order; they decide how much room is left for it.
    """
    legend_height = 0.05 + 0.215 * _legend_shape(legend)[1]
    heading = textwrap.fill(title, TITLE_WIDTH)
    small = textwrap.fill(note, 154)
    extra = 0.3 + 0.23 * heading.count("\n") + 0.17 * (small.count("\n") + 1)
    layout = ConstrainedLayoutEngine(w_pad=0.07, h_pad=0.06)
    figure = Figure(figsize=(WIDTH_INCHES, height + legend_height + extra), layout=layout)
    set_title(figure, heading)
    figure.supxlabel(small, x=0.012, ha="left", fontsize=8.2, color=MUTED)
    rows, columns = grid
    cells = figure.add_gridspec(rows + 1, columns, height_ratios=[height / rows] * rows + [legend_height])
    axes = tuple(figure.add_subplot(cells[i // columns, i % columns]) for i in range(rows * columns))
    legend_axes = figure.add_subplot(cells[rows, :])
    legend_axes.set_axis_off()
    return Panels(figure, axes, legend_axes, tuple(legend))


def set_title(figure: Figure, title: str) -> None:
    """Write, or write again, the title above the panels."""
    heading = textwrap.fill(title, TITLE_WIDTH)
    figure.suptitle(heading, x=0.012, ha="left", fontsize=12, fontweight="bold", color="#15191D")


def draw_legend(panels: Panels, *more: Artist) -> None:
    """Name what was drawn in the first panel, and `more`, in the room under the panels."""
    handles, labels = panels.axes[0].get_legend_handles_labels()
    drawn = {**dict(zip(labels, handles, strict=True)), **{str(artist.get_label()): artist for artist in more}}
    names = [name for name in panels.legend if name in drawn]
    columns, _ = _legend_shape(names)
    panels.legend_axes.legend(
        [drawn[name] for name in names],
        [wrapped(name, LEGEND_NAME_WIDTH) for name in names],
        loc="upper left",
        ncols=columns,
        borderaxespad=0,
        handlelength=2.6,
    )


def _legend_shape(names: Sequence[str]) -> tuple[int, int]:
    """Columns of a legend, and the lines of text in its longest column."""
    if not names:
        return 1, 0
    lines = [wrapped(name, LEGEND_NAME_WIDTH).split("\n") for name in names]
    longest = max(len(line) for entry in lines for line in entry)
    columns = max(1, min(4, len(names), LEGEND_WIDTH // (longest + 8)))
    # matplotlib fills a legend column by column.
    rows = -(-len(names) // columns)
    heights = [len(entry) for entry in lines]
    return columns, max(sum(heights[start : start + rows]) for start in range(0, len(names), rows))


def rows_height(names: Sequence[str]) -> float:
    """Height in inches of panels with one row a file, so that the longest name does not run into the next."""
    lines = max(wrapped(name).count("\n") + 1 for name in names)
    return 0.75 + len(names) * max(0.37, 0.165 * lines)


def size_axis(axes: Axes, sizes: Sequence[int]) -> None:
    """A logarithmic x axis of bytes in kB and MB, with room on both sides and ticks however narrow the range is."""
    low, high = min(sizes) / 1.35, max(sizes) * 1.35
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    narrow = high / low < 4  # noqa: PLR2004 - under this, ticks at 1, 2 and 5 leave one or none
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0) if narrow else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: size_tick(value)))
    plain_minor_axis(axes.xaxis)


def plain_minor_axis(axis: Axis) -> None:
    """Take away the minor ticks, which on a logarithmic axis bring labels of their own."""
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Places at least a gap apart, so that equal ones are seen side by side; each group stays around its middle.

    Example:
        >>> spread([1.0, 1.0, 5.0], gap=0.2)
        [0.9, 1.1, 5.0]
    """
    order = sorted(range(len(places)), key=lambda i: places[i])
    groups: list[list[int]] = []
    for i in order:
        if groups and places[i] - _middle(places, groups[-1]) < gap * (len(groups[-1]) + 1) / 2:
            groups[-1].append(i)
        else:
            groups.append([i])
    moved = list(places)
    for group in groups:
        for position, i in enumerate(group):
            moved[i] = _middle(places, group) + gap * (position - (len(group) - 1) / 2)
    return moved


def _middle(places: Sequence[float], group: Sequence[int]) -> float:
    return sum(places[i] for i in group) / len(group)
