"""How long a call takes, by batch size."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator

from tfshop.report.style import BASELINE_LOOK, Look, draw_legend, house_style, looks, new_panels, plain_minor_axis
from tfshop.report.units import time_tick
from tfshop.report.variant import Variant
from tfshop.runtime.latency_types import Latency, LatencyRow

SPREAD = 1.6  # between the first and the last point of one batch, as a ratio


@house_style()
def draw_latency_by_batch(baseline: Variant, variants: Sequence[Variant]) -> Figure | None:
    """Median time of a call with its 99th percentile, and how many times faster than the baseline.

    Returns:
        The figure, or None where nothing was timed.
    """
    files = [variant for variant in (baseline, *variants) if variant.evaluation.latency is not None]
    machines = {_machine(variant.evaluation.latency) for variant in files if variant.evaluation.latency}
    if not files:
        return None
    panels = new_panels(
        f"Latency by batch on {', '.join(sorted(machines))}",
        "Lines: median (p50) time of one call. Whiskers reach up to the 99th percentile (p99). Both axes on the left "
        "are logarithmic; points of one batch are set side by side. On the right, above 1 is faster than the baseline.",
        height=3.5,
        grid=(1, 2),
        legend=[_label(variant, baseline) for variant in files],
    )
    look_of = {**looks([variant.name for variant in variants]), baseline.name: BASELINE_LOOK}
    for number, variant in enumerate(files):
        nudge = SPREAD ** ((number + 0.5) / len(files) - 0.5)
        look = look_of[variant.name]
        _draw_times(panels.axes[0], variant, look, nudge, _label(variant, baseline))
        _draw_speedup(panels.axes[1], variant, baseline, look)
    _finish(panels.axes, sorted({row.batch_size for variant in files for row in _rows(variant)}))
    draw_legend(panels)
    return panels.figure


def _rows(variant: Variant) -> list[LatencyRow]:
    latency = variant.evaluation.latency
    return [] if latency is None else sorted(latency.rows, key=lambda row: row.batch_size)


def _machine(latency: Latency) -> str:
    threads = "one thread" if latency.num_threads == 1 else f"{latency.num_threads} threads"
    return f"{latency.cpu}, {threads}"


def _label(variant: Variant, baseline: Variant) -> str:
    return f"baseline '{variant.name}'" if variant is baseline else variant.name


def _draw_times(axes: Axes, variant: Variant, look: Look, nudge: float, label: str) -> None:
    rows = _rows(variant)
    axes.errorbar(
        [row.batch_size * nudge for row in rows],
        [row.p50_us for row in rows],
        yerr=[[0.0] * len(rows), [row.p99_us - row.p50_us for row in rows]],
        color=look.color,
        marker=look.marker,
        linestyle=look.line,
        markersize=5,
        linewidth=1.3,
        elinewidth=1,
        capsize=2.5,
        label=label,
    )


def _draw_speedup(axes: Axes, variant: Variant, baseline: Variant, look: Look) -> None:
    """The baseline's median over the file's, at the batches that both were timed at."""
    before = {row.batch_size: row.p50_us for row in _rows(baseline)}
    shared = [row for row in _rows(variant) if row.batch_size in before]
    axes.plot(
        [row.batch_size for row in shared],
        [before[row.batch_size] / row.p50_us for row in shared],
        color=look.color,
        marker=look.marker,
        linestyle=look.line,
        markersize=5,
        linewidth=1.3,
    )


def _finish(axes: Sequence[Axes], batch_sizes: Sequence[int]) -> None:
    times, speedups = axes
    times.set(title="Time of one call", xlabel="rows in one call (log)", ylabel="time (log)", yscale="log")
    times.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    times.yaxis.set_major_formatter(FuncFormatter(lambda value, _: time_tick(value)))
    plain_minor_axis(times.yaxis)
    speedups.set(title="Against the baseline", xlabel="rows in one call (log)", ylabel="times faster (p50)")
    speedups.set_ylim(0, 1.06 * speedups.get_ylim()[1])
    speedups.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
    for panel in axes:
        panel.set_xscale("log")
        _batch_ticks(panel.xaxis, batch_sizes)


def _batch_ticks(axis: Axis, batch_sizes: Sequence[int]) -> None:
    axis.set_major_locator(FixedLocator(list(batch_sizes)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    plain_minor_axis(axis)
