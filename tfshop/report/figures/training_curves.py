"""How each training went, and what the sparsity schedule did meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from tfshop.report.style import BASELINE_LOOK, Look, Panels, draw_legend, house_style, looks, new_panels
from tfshop.report.variant import TrainingCurve

SPARSITY_LABEL = "sparsity (thin, right axis)"


@house_style()
def draw_training_curves(curves: Sequence[TrainingCurve], names: Sequence[str] = ("",)) -> Figure | None:
    """Loss, and validation AUC with the sparsity schedule on a second axis.

    Args:
        curves: One a training.
        names: Of the baseline and of the variants, so that a curve of the same name takes that file's look.

    Returns:
        The figure, or None where there are no curves.
    """
    if not curves:
        return None
    others = [curve.name for curve in curves if curve.name not in names]
    look_of = {**looks([*names[1:], *others]), names[0]: BASELINE_LOOK}
    sparse = any(curve.series("sparsity")[0] for curve in curves)
    clock = "step" if all("step" in curve.clocks for curve in curves) else "epoch"
    panels = new_panels(
        "Training: loss and validation AUC" + (", with the sparsity schedule" if sparse else ""),
        "Losses of different kinds (with and without a teacher) do not share a scale: compare their shapes, and "
        "compare files by validation AUC. Each training counts its own epochs, from the weights it was given. The AUC "
        "axis does not start at 0.",
        height=3.4,
        grid=(1, 2),
        legend=[*(curve.name for curve in curves), *([SPARSITY_LABEL] if sparse else [])],
    )
    for curve in curves:
        _draw_curve(panels, curve, look_of[curve.name], clock if clock in curve.clocks else curve.clocks[0])
    loss, auc = panels.axes
    loss.set(title="Training loss", xlabel=clock, ylabel="loss (nats a row)")
    auc.set(title="Validation AUC", xlabel=clock, ylabel="validation AUC")
    for axes in panels.axes:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if sparse:
        _draw_sparsity(panels, curves, look_of, clock)
    draw_legend(panels, *([Line2D([], [], color="#30363D", linewidth=0.9, label=SPARSITY_LABEL)] if sparse else []))
    return panels.figure


def _draw_curve(panels: Panels, curve: TrainingCurve, look: Look, clock: str) -> None:
    for axes, key in zip(panels.axes, ("loss", "validation_auc"), strict=True):
        places, values = curve.series(key, clock)
        marker = look.marker if len(places) <= 20 else ""  # noqa: PLR2004 - more would hide the line
        axes.plot(
            places,
            values,
            color=look.color,
            linestyle=look.line,
            linewidth=1.5,
            marker=marker,
            markersize=5,
            label=curve.name,
        )


def _draw_sparsity(panels: Panels, curves: Sequence[TrainingCurve], look_of: dict[str, Look], clock: str) -> None:
    """The schedule on the right axis of the AUC panel: what the zeros cost is seen where they come."""
    axes = panels.axes[1].twinx()
    for curve in curves:
        places, values = curve.series("sparsity", clock if clock in curve.clocks else curve.clocks[0])
        percent = [100 * value for value in values]
        axes.plot(places, percent, color=look_of[curve.name].color, linewidth=0.9, drawstyle="steps-post")
    axes.set(ylim=(0, 100), ylabel="weights that are zero")
    axes.yaxis.set_major_formatter(PercentFormatter(decimals=0))
    axes.grid(visible=False)
    axes.spines["right"].set_visible(True)
