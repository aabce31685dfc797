"""Where the bytes of each file are."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from tfshop.report.style import PARTS, draw_legend, house_style, new_panels, rows_height, wrapped
from tfshop.report.units import size_text, size_tick, times_text
from tfshop.report.variant import Variant


@house_style()
def draw_bytes_by_part(baseline: Variant, variants: Sequence[Variant]) -> Figure:
    """Stacked bars of tables, dense weights and rest: in bytes, and as shares of each file."""
    files = (baseline, *variants)
    share = baseline.bytes_by_part.get("tables", 0) / baseline.evaluation.size_bytes
    panels = new_panels(
        f"Where the bytes are: tables hold {share:.0%} of '{baseline.name}'",
        "Tables: embedding rows and their scales. Dense: weights of matrix multiplications. Rest: biases, graph and "
        "metadata. Sizes as stored, before gzip; 1 kB is 1,000 bytes.",
        height=rows_height([variant.name for variant in files]),
        grid=(1, 2),
        legend=tuple(PARTS),
    )
    sizes, shares = panels.axes
    _draw_bars(sizes, files, [1.0] * len(files))
    _draw_bars(shares, files, [100 / variant.evaluation.size_bytes for variant in files])
    for row, variant in enumerate(files):
        sizes.annotate(
            _size_beside(variant, baseline),
            (variant.evaluation.size_bytes, row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
        )
    sizes.set(title="Bytes", xlabel="file size")
    sizes.set_xlim(0, 1.32 * max(variant.evaluation.size_bytes for variant in files))
    sizes.xaxis.set_major_locator(MaxNLocator(4))
    sizes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: size_tick(value)))
    sizes.set_yticks(range(len(files)), [wrapped(variant.name) for variant in files])
    shares.set(title="Share of each file", xlabel="share of the file's bytes", xlim=(0, 100), yticklabels=[])
    shares.xaxis.set_major_formatter(PercentFormatter(decimals=0))
    draw_legend(panels)
    return panels.figure


def _draw_bars(axes: Axes, files: Sequence[Variant], scales: Sequence[float]) -> None:
    """One stacked bar a file, each byte worth the file's scale."""
    left = [0.0] * len(files)
    for part, (color, hatch) in PARTS.items():
        widths = [variant.bytes_by_part.get(part, 0) * scale for variant, scale in zip(files, scales, strict=True)]
        axes.barh(range(len(files)), widths, left=left, height=0.66, color=color, hatch=hatch, label=part, linewidth=0)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.set(ylim=(len(files) - 0.5, -0.5), yticks=range(len(files)))
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _size_beside(variant: Variant, baseline: Variant) -> str:
    text = size_text(variant.evaluation.size_bytes)
    if variant is baseline:
        return text
    return f"{text}, {times_text(baseline.evaluation.size_bytes / variant.evaluation.size_bytes)} smaller"
