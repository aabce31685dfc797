"""Accuracy and recall of every file beside the baseline's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfshop.evaluation.checks import Bools
from tfshop.evaluation.paired import share_difference
from tfshop.report.style import BASELINE_COLOR, MUTED, draw_legend, house_style, looks, new_panels, rows_height, wrapped
from tfshop.report.variant import Variant

Hits = Callable[[Variant], Bools]


@house_style()
def draw_accuracy_recall(baseline: Variant, variants: Sequence[Variant]) -> Figure:
    """A dot a file, its paired 95% interval, and the baseline as a line through each panel."""
    panels = new_panels(
        _title(baseline, variants),
        "The x axes do not start at 0: they show just the range that holds every file. Whiskers: 95% interval of the "
        "difference to the baseline, from the rows on which the two disagree. Each file is judged at its own "
        "threshold, chosen on validation for the best F1, so recall also moves with that choice.",
        height=rows_height([variant.name for variant in variants]),
        grid=(1, 2),
        legend=(f"baseline '{baseline.name}'",),
    )
    accuracy, recall = panels.axes
    _draw_share(accuracy, baseline, variants, _right)
    _draw_share(recall, baseline, variants, _found)
    accuracy.set(title="Accuracy", xlabel="test rows classified correctly (%)")
    recall.set(title="Recall", xlabel="test positives found (%)", yticklabels=[])
    accuracy.set_yticks(range(len(variants)), [wrapped(variant.name) for variant in variants])
    draw_legend(panels)
    return panels.figure


def _right(variant: Variant) -> Bools:
    return np.equal(variant.predicted, variant.truth)


def _found(variant: Variant) -> Bools:
    return variant.predicted[variant.truth]


def _title(baseline: Variant, variants: Sequence[Variant]) -> str:
    """How far the files move at most, in points of a percent."""
    moves = [_largest_change(baseline, variants, hits) for hits in (_right, _found)]
    return (
        f"Beside '{baseline.name}' (black line) accuracy moves by at most {moves[0]:+.2f} points, "
        f"recall by at most {moves[1]:+.2f}"
    )


def _largest_change(baseline: Variant, variants: Sequence[Variant], hits: Hits) -> float:
    changes = [100 * share_difference(hits(variant), hits(baseline))[0] for variant in variants]
    return max(changes, key=abs)


def _draw_share(axes: Axes, baseline: Variant, variants: Sequence[Variant], hits: Hits) -> None:
    """One panel: the share of hits of each file in percent, with its change written at the right."""
    reference = 100 * float(hits(baseline).mean())
    axes.axvline(reference, color=BASELINE_COLOR, linewidth=1.3, label=f"baseline '{baseline.name}'", zorder=1.5)
    ends = [reference]
    look_of = looks([variant.name for variant in variants])
    for row, variant in enumerate(variants):
        change, half = (100 * value for value in share_difference(hits(variant), hits(baseline)))
        look = look_of[variant.name]
        axes.errorbar(reference + change, row, xerr=half, color=look.color, marker=look.marker, capsize=3)
        axes.annotate(
            f"{reference + change:.2f}%\n{change:+.2f} points",
            (1.01, row),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8,
            color=MUTED,
        )
        ends += [reference + change - half, reference + change + half]
    room = 0.08 * (max(ends) - min(ends)) or 0.05
    axes.set(xlim=(min(ends) - room, max(ends) + room), ylim=(len(variants) - 0.5, -0.5), yticks=range(len(variants)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.4g}")
    axes.locator_params(axis="x", nbins=5)
    axes.tick_params(axis="y", length=0)
