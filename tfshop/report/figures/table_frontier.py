"""Bytes of tables against the AUC that is expected of them, and that was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from tfshop.report.style import BASELINE_COLOR, COLORS, MUTED, draw_legend, house_style, new_panels, size_axis
from tfshop.report.units import size_text, times_text

LINEAR_UP_TO = 0.001  # of AUC; beyond, the y axis is logarithmic
LABELS = ("expected, before tuning", "measured on validation", "chosen")


@house_style()
def draw_table_frontier(rows: Sequence[Mapping[str, Any]], float_auc: float) -> Figure:
    """AUC difference to rows as they are against the bytes of the tables.

    Args:
        rows: Those of `TableFrontier`, from few bytes to those of rows as they are.
        float_auc: Validation AUC of rows as they are.
    """
    floats = rows[-1]["bytes"]
    chosen = next(row for row in rows if row["chosen"])
    panels = new_panels(
        f"Tables in {size_text(chosen['bytes'])} of {size_text(floats)} "
        f"({times_text(floats / max(chosen['bytes'], 1))} smaller): AUC "
        f"{chosen['measured_auc'] - float_auc:+.4f} before tuning",
        "Each point of the line is the allocation of codecs to fields that is expected to cost least in so many bytes. "
        "What is measured is the whole validation split, coded and without training; where bits are very few, "
        "estimates to second order are too good.",
        height=3.4,
        legend=LABELS,
    )
    (axes,) = panels.axes
    sizes = [row["bytes"] for row in rows]
    expected = [row["expected_auc"] - float_auc for row in rows]
    measured = [row for row in rows if row["measured_auc"] is not None]
    differences = [row["measured_auc"] - float_auc for row in measured]
    axes.axhline(0, color=MUTED, linewidth=0.8, zorder=1.2)
    axes.plot(sizes, expected, color=BASELINE_COLOR, marker=".", markersize=4, label=LABELS[0])
    axes.plot([r["bytes"] for r in measured], differences, color=COLORS[0], marker="o", linestyle="", label=LABELS[1])
    axes.plot(
        [chosen["bytes"]],
        [chosen["measured_auc"] - float_auc],
        color=COLORS[1],
        marker="o",
        markersize=12,
        fillstyle="none",
        linestyle="",
        label=LABELS[2],
    )
    axes.set(xlabel="bytes of the tables (log)", ylabel="validation AUC minus that of float32 tables")
    if max(map(abs, (*expected, *differences))) > 10 * LINEAR_UP_TO:
        axes.set_yscale("symlog", linthresh=LINEAR_UP_TO)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:+.6f}".rstrip("0") if value else "0")
    size_axis(axes, sizes)
    draw_legend(panels)
    return panels.figure
