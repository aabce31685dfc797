"""What the size was bought with: AUC difference to the baseline against bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tfshop.evaluation.delong import LOST_NOTHING
from tfshop.report.style import (
    BASELINE_COLOR,
    MUTED,
    Look,
    draw_legend,
    house_style,
    looks,
    new_panels,
    size_axis,
    spread,
)
from tfshop.report.units import times_text
from tfshop.report.variant import Variant

LINEAR_UP_TO = 0.001  # beyond ten times this the y axis is logarithmic
LIMIT_COLOR = "#A3262A"


@house_style()
def draw_auc_size(baseline: Variant, variants: Sequence[Variant], max_auc_drop: float | None = None) -> Figure:
    """AUC difference with its 95% interval against the file's size, as stored and as downloaded.

    Args:
        baseline: At difference 0.
        variants: Those without a measured difference on test are left out.
        max_auc_drop: The limit the user gave, as a positive number; None draws no line.
    """
    shown = [variant for variant in variants if variant.evaluation.auc_difference_test is not None]
    names = [f"baseline '{baseline.name}'", *(variant.name for variant in shown), *_lines(max_auc_drop)]
    span = max((abs(end) for variant in shown for end in _interval(variant)), default=0.0)
    panels = new_panels(_title(baseline, shown), _note(span), height=3.3, grid=(1, 2), legend=names)
    stored, downloaded = panels.axes
    _draw_points(stored, baseline, shown, [variant.evaluation.size_bytes for variant in (baseline, *shown)])
    _draw_points(downloaded, baseline, shown, [variant.evaluation.gzip_bytes for variant in (baseline, *shown)])
    stored.set(title="As stored", xlabel="file size (log)", ylabel="test AUC minus the baseline's")
    downloaded.set(title="As downloaded", xlabel="gzipped size (log)")
    for axes in panels.axes:
        _draw_lines(axes, max_auc_drop)
        if span > 10 * LINEAR_UP_TO:
            axes.set_yscale("symlog", linthresh=LINEAR_UP_TO)
        else:
            axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:+.6f}".rstrip("0") if value else "0")
    downloaded.tick_params(axis="y", labelleft=False)
    draw_legend(panels)
    return panels.figure


def _title(baseline: Variant, shown: Sequence[Variant]) -> str:
    unharmed = [variant for variant in shown if _interval(variant)[0] > -LOST_NOTHING]
    if len(shown) == 1:
        ratio = times_text(baseline.evaluation.size_bytes / shown[0].evaluation.size_bytes)
        outcome = "lost nothing that matters" if unharmed else f"its AUC may have lost {-_interval(shown[0])[0]:.4f}"
        return f"AUC against size: '{shown[0].name}' is {ratio} smaller than '{baseline.name}', and {outcome}"
    smallest = min((variant.evaluation.size_bytes for variant in unharmed), default=None)
    outcome = f"{len(unharmed)} of {len(shown)} files lost nothing that matters on test"
    text = f"AUC against size: {outcome} against '{baseline.name}'"
    if smallest is None:
        return text
    return f"{text}; the smallest of them is {times_text(baseline.evaluation.size_bytes / smallest)} smaller"


def _note(span: float) -> str:
    scale = f"The y axis is logarithmic beyond +-{LINEAR_UP_TO}." if span > 10 * LINEAR_UP_TO else ""
    return (
        "Whiskers: paired DeLong 95% intervals on the same test rows. A file lost nothing that matters where its whole "
        f"whisker stays above -{LOST_NOTHING}. Points of nearly the same size are set side by side. {scale}"
    )


def _interval(variant: Variant) -> tuple[float, float]:
    difference = variant.evaluation.auc_difference_test
    return (0.0, 0.0) if difference is None else (difference.low, difference.high)


def _draw_points(axes: Axes, baseline: Variant, shown: Sequence[Variant], sizes: Sequence[int]) -> None:
    """The baseline's point and each file's with its whisker, set apart where sizes nearly agree."""
    gap = 0.018 * max(math.log10(max(sizes) / min(sizes)), 0.3)
    places = [10**place for place in spread([math.log10(size) for size in sizes], gap)]
    look_of = looks([variant.name for variant in shown])
    axes.plot(places[0], 0, color=BASELINE_COLOR, marker="o", linestyle="", label=f"baseline '{baseline.name}'")
    for variant, place in zip(shown, places[1:], strict=True):
        _draw_point(axes, variant, place, look_of[variant.name])
    size_axis(axes, [round(place) for place in places])


def _draw_point(axes: Axes, variant: Variant, place: float, look: Look) -> None:
    difference = variant.evaluation.auc_difference_test
    if difference is None:
        return
    whisker = [[difference.difference - difference.low], [difference.high - difference.difference]]
    axes.errorbar(
        place,
        difference.difference,
        yerr=whisker,
        color=look.color,
        marker=look.marker,
        linestyle="",
        capsize=3,
        elinewidth=1.3,
        label=variant.name,
    )


def _lines(max_auc_drop: float | None) -> dict[str, tuple[float, str, str]]:
    """Height, colour and dashes of the lines that files are judged by, by label."""
    lines = {f"lost nothing: above -{LOST_NOTHING}": (-LOST_NOTHING, "#20262C", ":")}
    if max_auc_drop is not None:
        lines[f"limit on validation: -{max_auc_drop:g}"] = (-max_auc_drop, LIMIT_COLOR, "--")
    return lines


def _draw_lines(axes: Axes, max_auc_drop: float | None) -> None:
    """No difference, the 'lost nothing' line and the user's limit."""
    axes.axhline(0, color=MUTED, linewidth=0.8, zorder=1.2)
    for label, (height, color, dashes) in _lines(max_auc_drop).items():
        axes.axhline(height, color=color, linewidth=1.2, linestyle=dashes, label=label, zorder=1.3)
