"""ROC and precision-recall curves, and what they differ by from the baseline's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from tfshop.evaluation.checks import Bools, Floats
from tfshop.report.style import BASELINE_LOOK, MUTED, draw_legend, house_style, looks, new_panels
from tfshop.report.variant import Variant

NUM_POINTS = 400
NUM_STEPS = 50  # of the differences: single points of a difference are noise
FEWEST_FOUND = 20  # precision among fewer positives than this is noise


def roc_points(truth: Bools, scores: Floats) -> tuple[Floats, Floats]:
    """False positive rates on an even grid of NUM_POINTS, and the true positive rate at each."""
    false_positive_rate, true_positive_rate, _ = roc_curve(truth, scores)
    grid = np.linspace(0, 1, NUM_POINTS)
    return grid, np.interp(grid, false_positive_rate, true_positive_rate)


def precision_recall_points(truth: Bools, scores: Floats) -> tuple[Floats, Floats]:
    """Recalls on an even grid of NUM_POINTS, and the precision at each.

    Between two thresholds, positives and negatives are counted in proportion, as if ties were broken at random. Taking
    the next threshold instead would make every file with few distinct scores look less precise than it is.

    References:
        Davis & Goadrich, The relationship between precision-recall and ROC curves, 2006.
    """
    false_positive_rate, true_positive_rate, _ = roc_curve(truth, scores)
    positives = int(truth.sum())
    grid = np.linspace(min(FEWEST_FOUND / positives, 1.0), 1, NUM_POINTS)
    # A hair to the left: of several thresholds with one recall the most precise counts.
    false_positives = (truth.size - positives) * np.interp(grid - 1e-9, true_positive_rate, false_positive_rate)
    return grid, grid * positives / (grid * positives + false_positives)


def averaged(places: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Means of NUM_STEPS stretches of equally many neighbours."""
    return places.reshape(NUM_STEPS, -1).mean(axis=1), values.reshape(NUM_STEPS, -1).mean(axis=1)


@house_style()
def draw_roc_precision_recall(baseline: Variant, variants: Sequence[Variant]) -> Figure:
    """The curves above, each minus the baseline's below, where small differences can be seen."""
    panels = new_panels(
        f"ROC and precision-recall on test, with the difference to '{baseline.name}' enlarged below",
        f"Lower panels: the same curves minus the baseline's, averaged over {NUM_STEPS} steps, on an axis as wide as "
        f"the largest difference; at 0 the two files find the same share. Precision starts at the recall of "
        f"{FEWEST_FOUND} positives, below which it is noise.",
        height=6.0,
        grid=(2, 2),
        legend=[f"baseline '{baseline.name}'", *(variant.name for variant in variants)],
    )
    look_of = looks([variant.name for variant in variants])
    curves = (roc_points, precision_recall_points)
    for column, points in enumerate(curves):
        above, below = panels.axes[column], panels.axes[column + 2]
        grid, reference = points(baseline.truth, baseline.probabilities)
        above.plot(grid, reference, color=BASELINE_LOOK.color, linewidth=2.2, label=f"baseline '{baseline.name}'")
        below.axhline(0, color=BASELINE_LOOK.color, linewidth=1.4)
        for variant in variants:
            look = look_of[variant.name]
            here, values = points(variant.truth, variant.probabilities)
            above.plot(here, values, color=look.color, linestyle=look.line, linewidth=1.2, label=variant.name)
            steps, differences = averaged(here, values - np.interp(here, grid, reference))
            below.plot(steps, differences, color=look.color, linestyle=look.line, linewidth=1.4)
    _label(panels.axes, share_of_positives=float(baseline.truth.mean()))
    draw_legend(panels)
    return panels.figure


def _label(axes: Sequence, share_of_positives: float) -> None:  # type: ignore[type-arg]
    roc, precision, roc_difference, precision_difference = axes
    roc.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=":")
    precision.axhline(share_of_positives, color=MUTED, linewidth=0.9, linestyle=":")
    roc.set(title="ROC", xlabel="false positive rate", ylabel="true positive rate")
    precision.set(title="Precision and recall", xlabel="recall", ylabel="precision", ylim=(0, None))
    roc_difference.set(
        title="ROC minus the baseline's", xlabel="false positive rate", ylabel="true positive rate, difference"
    )
    precision_difference.set(title="Precision minus the baseline's", xlabel="recall", ylabel="precision, difference")
    for panel in axes:
        panel.set_xlim(0, 1)
    for panel in (roc_difference, precision_difference):
        panel.yaxis.set_major_formatter(lambda value, _: f"{value:+.3g}" if value else "0")
