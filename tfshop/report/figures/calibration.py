"""Whether a score of 0.2 means two in ten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter
from numpy.typing import NDArray

from tfshop.evaluation.checks import Bools, Floats
from tfshop.report.style import BASELINE_LOOK, MUTED, draw_legend, house_style, looks, new_panels, plain_minor_axis
from tfshop.report.variant import Variant

NUM_BINS = 10
WIDE_RATIO = 10.0


@dataclass(frozen=True, eq=False)
class Reliability:
    """Bins of a score, by rising score: rows, mean score and share of positives of each."""

    rows: NDArray[np.int64]
    predicted: Floats
    observed: Floats

    @property
    def percentiles(self) -> Floats:
        """Middle of each bin, in percent of all rows."""
        return np.asarray(100 * (np.cumsum(self.rows) - self.rows / 2) / self.rows.sum())


def reliability(truth: Bools, scores: Floats) -> Reliability:
    """Mean score and share of positives in each decile of the score.

    Equal scores stay in one bin, so a file with few distinct scores has fewer than ten bins.

    Args:
        truth: Labels, shape (n,).
        scores: Probabilities, shape (n,).
    """
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, NUM_BINS + 1)[1:-1]))
    bins = np.searchsorted(edges, scores, side="right")
    rows = np.bincount(bins, minlength=len(edges) + 1)
    predicted = np.bincount(bins, weights=scores, minlength=len(rows))
    observed = np.bincount(bins, weights=truth, minlength=len(rows))
    filled = rows > 0
    return Reliability(rows[filled], predicted[filled] / rows[filled], observed[filled] / rows[filled])


@house_style()
def draw_calibration(baseline: Variant, variants: Sequence[Variant]) -> Figure:
    """Observed against predicted share by decile, and their ratio, where small errors can be seen."""
    panels = new_panels(
        "Calibration: how often the event happened, by decile of the predicted score",
        "Ten bins of equally many test rows, by each file's own scores. On the dotted line a score of 0.2 means two in "
        "ten; above it the file predicts too little, below it too much. Grey: where 95% of the ratios of a perfectly "
        "calibrated file would fall by chance.",
        height=3.5,
        grid=(1, 2),
        legend=[f"baseline '{baseline.name}'", *(variant.name for variant in variants)],
    )
    curve, ratio = panels.axes
    look_of = {**looks([variant.name for variant in variants]), baseline.name: BASELINE_LOOK}
    _draw_chance(ratio, reliability(baseline.truth, baseline.probabilities))
    everything: list[float] = []
    worst = 1.0
    for variant in (baseline, *variants):
        look = look_of[variant.name]
        label = f"baseline '{variant.name}'" if variant is baseline else variant.name
        bins = reliability(variant.truth, variant.probabilities)
        style = {"color": look.color, "marker": look.marker, "linestyle": look.line, "markersize": 5, "linewidth": 1.2}
        curve.plot(bins.predicted, bins.observed, label=label, **style)
        ratios = bins.observed / np.maximum(bins.predicted, 1e-9)
        worst = max(worst, float(ratios.max()))
        ratio.plot(bins.percentiles, ratios, **style)
        everything += [*bins.predicted[bins.observed > 0], *bins.observed[bins.observed > 0]]
    _finish(curve, ratio, min(everything), max(everything))
    _widen(ratio, worst)
    draw_legend(panels)
    return panels.figure


def _draw_chance(axes: Axes, bins: Reliability) -> None:
    """The range of ratios that chance alone gives in bins of this many rows."""
    predicted = np.clip(bins.predicted, 1e-9, 1)
    half = 1.96 * np.sqrt((1 - predicted) / predicted / bins.rows)
    axes.fill_between(bins.percentiles, 1 - half, 1 + half, color="#E9ECEE", linewidth=0, zorder=0.5)


def _finish(curve: Axes, ratio: Axes, low: float, high: float) -> None:
    """Label both panels and draw the line of perfect calibration."""
    wide = high / low > 30  # noqa: PLR2004 - clicks are rare: most deciles would sit in one corner
    low, high = (low / 1.3, high * 1.3) if wide else (0.0, high * 1.05)
    scale, axis_note = ("log", " (log)") if wide else ("linear", "")
    curve.plot([low, high], [low, high], color=MUTED, linestyle=":", linewidth=1.2)
    curve.set(xscale=scale, yscale=scale, xlim=(low, high), ylim=(low, high), title="Reliability")
    curve.set(xlabel=f"mean predicted probability{axis_note}", ylabel=f"observed share of positives{axis_note}")
    for axis in (curve.xaxis, curve.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        plain_minor_axis(axis)
    ratio.axhline(1, color=MUTED, linestyle=":", linewidth=1.2)
    ratio.set(
        title="Error, enlarged",
        xlabel="percentile of the score (middle of each tenth of the rows)",
        ylabel="observed / predicted",
    )
    ratio.set_xlim(0, 100)
    ratio.xaxis.set_major_locator(FixedLocator(list(range(5, 100, 10))))


def _widen(ratio: Axes, worst: float) -> None:
    """A logarithmic axis where one bin of tiny scores would press all others onto the line."""
    if worst <= WIDE_RATIO:
        return
    ratio.set_yscale("log")
    ratio.set_ylabel("observed / predicted (log)")
    ratio.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    plain_minor_axis(ratio.yaxis)
