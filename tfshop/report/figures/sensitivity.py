"""What each layer loses by each technique, alone and without training."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from tfshop.evaluation.delong import LOST_NOTHING
from tfshop.evaluation.trial import Trial
from tfshop.report.style import COLORS, MARKERS, MUTED, draw_legend, house_style, new_panels
from tfshop.report.units import size_text

LINEAR_UP_TO = 0.001  # beyond, the x axis is logarithmic
TICKS = (0.001, 0.01)
WIDE, WIDE_TICKS = 0.05, (0.01, 0.1)  # beyond that loss, labels nearer to zero would touch
ROW_INCHES = 0.235
FRAME_INCHES = 0.85  # of a panel: its title and its axis
LAYER_WIDTH = 24  # characters of a layer's name
COLUMNS = 2
STRENGTHS = ("mildest setting", "second", "third", "fourth", "fifth", "sixth")
LIMIT_LABEL = f"more than {LOST_NOTHING} matters"


@house_style()
def draw_sensitivity(network: str, trials: Sequence[Trial]) -> Figure:
    """AUC loss with its 95% interval by layer and strength, a panel a technique, and the bytes that are saved.

    Args:
        network: What it is called.
        trials: In the order of the layers, of techniques and of strengths.
    """
    techniques = list(dict.fromkeys(trial.technique for trial in trials))
    layers = list(dict.fromkeys(trial.layer for trial in trials))
    rows = -(-len(techniques) // COLUMNS)
    most = max(len(_strengths(trials, technique)) for technique in techniques)
    panels = new_panels(
        _title(network, trials),
        "Each layer is changed alone, without training; a pass that fine-tunes loses less. Whiskers: paired 95% "
        f"intervals. The x axis is logarithmic beyond {LINEAR_UP_TO}. On the right: bytes of the layer that the "
        "strongest setting saves, of its gzip for zeros and shared values; a dash where the technique cannot treat it.",
        height=rows * (FRAME_INCHES + ROW_INCHES * len(layers)),
        grid=(rows, min(COLUMNS, len(techniques))),
        legend=(*(_name(place) for place in range(most)), LIMIT_LABEL),
    )
    for position, (axes, technique) in enumerate(zip(panels.axes, techniques, strict=False)):
        _draw_panel(axes, technique, [trial for trial in trials if trial.technique == technique], layers)
        if position % COLUMNS:
            axes.set_yticklabels([])
    for axes in panels.axes[len(techniques) :]:
        axes.set_axis_off()
    draw_legend(panels, *_legend(most))
    return panels.figure


def _legend(most: int) -> list[Line2D]:
    """Strengths by their order, whichever panel they are in."""
    marks = [
        Line2D([], [], color=COLORS[place % len(COLORS)], marker=_marker(place), linestyle="", label=_name(place))
        for place in range(most)
    ]
    return [*marks, Line2D([], [], color=MUTED, linestyle=":", label=LIMIT_LABEL)]


def _strengths(trials: Sequence[Trial], technique: str) -> list[float]:
    return list(dict.fromkeys(trial.strength for trial in trials if trial.technique == technique))


def _name(place: int) -> str:
    return STRENGTHS[place] if place < len(STRENGTHS) else f"number {place + 1}"


def _marker(place: int) -> str:
    return MARKERS[place % len(MARKERS)]


def _title(network: str, trials: Sequence[Trial]) -> str:
    worst = max(trials, key=lambda trial: trial.auc_loss)
    if worst.auc_loss <= LOST_NOTHING:
        return f"Sensitivity of '{network}': no layer alone loses more than {LOST_NOTHING} of AUC"
    return (
        f"Sensitivity of '{network}': '{worst.layer}' loses most, {worst.auc_loss:.4f} of AUC by {worst.technique} "
        f"({worst.setting})"
    )


def _draw_panel(axes: Axes, technique: str, trials: Sequence[Trial], layers: Sequence[str]) -> None:
    strengths = _strengths(trials, technique)
    places = {layer: row for row, layer in enumerate(layers)}
    apart = 0.62 / max(1, len(strengths))
    for place, strength in enumerate(strengths):
        shown = [trial for trial in trials if trial.strength == strength]
        axes.errorbar(
            [trial.auc_loss for trial in shown],
            [places[trial.layer] + apart * (place - (len(strengths) - 1) / 2) for trial in shown],
            xerr=[[trial.auc_loss - trial.low for trial in shown], [trial.high - trial.auc_loss for trial in shown]],
            color=COLORS[place % len(COLORS)],
            marker=_marker(place),
            linestyle="",
            markersize=4,
            elinewidth=0.8,
            zorder=3,
        )
    settings = dict.fromkeys(trial.setting for strength in strengths for trial in trials if trial.strength == strength)
    axes.set_title(f"{technique}: {_joined(list(settings))}", fontsize=9)
    axes.axvline(0, color=MUTED, linewidth=0.9)
    axes.axvline(LOST_NOTHING, color=MUTED, linestyle=":", linewidth=1.2)
    _set_axes(axes, layers)
    _draw_bytes(axes, trials, layers)


def _joined(settings: Sequence[str]) -> str:
    """Settings with what they have in common said once: "50%, 80% zeros"."""
    words = [setting.split() for setting in settings]
    ends = {tuple(parts[1:]) for parts in words}
    if len(ends) == 1:
        return f"{', '.join(parts[0] for parts in words)} {' '.join(words[0][1:])}"
    starts = {tuple(parts[:-1]) for parts in words}
    if len(starts) == 1:
        return f"{' '.join(words[0][:-1])} {', '.join(parts[-1] for parts in words)}"
    return ", ".join(settings)


def _set_axes(axes: Axes, layers: Sequence[str]) -> None:
    axes.set_xscale("symlog", linthresh=LINEAR_UP_TO)
    ticks = WIDE_TICKS if max(map(abs, axes.get_xlim())) > WIDE else TICKS
    axes.xaxis.set_major_locator(FixedLocator([*(-tick for tick in ticks), 0, *ticks]))
    axes.xaxis.set_minor_locator(FixedLocator([]))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set(ylim=(len(layers) - 0.4, -0.6), xlabel="loss of validation AUC")
    axes.set_yticks(range(len(layers)), [_short(layer) for layer in layers], fontsize=8.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    for row in range(0, len(layers), 2):
        axes.axhspan(row - 0.5, row + 0.5, color="#F4F6F8", zorder=0, linewidth=0)


def _short(name: str) -> str:
    """A long name without its middle: both ends tell layers of one network apart."""
    half = (LAYER_WIDTH - 1) // 2
    return name if len(name) <= LAYER_WIDTH else f"{name[:half]}…{name[-half:]}"


def _draw_bytes(axes: Axes, trials: Sequence[Trial], layers: Sequence[str]) -> None:
    """What the strongest setting saves of each layer, beside its row."""
    saved = {layer: max((t.bytes_saved for t in trials if t.layer == layer), default=None) for layer in layers}
    beside = axes.secondary_yaxis("right")
    texts = ["–" if size is None else size_text(size) for size in saved.values()]  # noqa: RUF001  (a dash is meant)
    beside.set_yticks(range(len(layers)), texts, fontsize=8, color=MUTED)
    beside.tick_params(length=0)
    beside.spines["right"].set_visible(False)
