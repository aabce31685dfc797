"""Which pictures a report holds, in order, and what is written under each."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from tfshop.report import figures
from tfshop.report.style import house_style, set_title

if TYPE_CHECKING:
    from tfshop.report.report import Report

DOTS_PER_INCH = 160
MOST_TARGETS = 9


@dataclass(frozen=True)
class Picture:
    """One picture of the report.

    Args:
        heading: Its question, on the page.
        caption: How a data scientist reads it and what to beware of.
        draw: The figure of a report of one target; None where the report has nothing for it.
        of_target: Whether each of several targets has a picture of its own.
    """

    heading: str
    caption: str
    draw: Callable[[Report], Figure | None]
    of_target: bool = False


PICTURES: Mapping[str, Picture] = {
    "auc_size": Picture(
        "What the size was bought with",
        "Each file's test AUC minus the baseline's, with the paired DeLong 95% interval. Both files score the same "
        "rows, so the interval is far narrower than that of either AUC. It covers the choice of test rows, not the "
        "seed of the training: differences between two trainings of one plan can be larger than the whisker.",
        lambda report: figures.draw_auc_size(report.baseline, report.variants, report.limits.get("max_auc_drop")),
        of_target=True,
    ),
    "accuracy_recall": Picture(
        "Accuracy and recall",
        "Decisions at one threshold a file. The threshold is the one with the best F1 on validation, so a file can "
        "gain recall and lose accuracy by having moved its threshold, with the same AUC: read both panels together.",
        lambda report: figures.draw_accuracy_recall(report.baseline, report.variants),
        of_target=True,
    ),
    "bytes_by_part": Picture(
        "Where the bytes are",
        "What still can be saved, and where. Embedding tables shrink with fewer bits a row, fewer rows or fewer "
        "dimensions; dense weights with int8 or fewer neurons. Zeros from pruning shorten the gzipped download only.",
        lambda report: figures.draw_bytes_by_part(report.baseline, report.variants),
    ),
    "latency_by_batch": Picture(
        "Latency",
        "Time of one call of the interpreter, inputs ready in memory. At batch 1 the fixed cost of a call and the "
        "table lookups dominate; at large batches the multiplications do, and int8 pays most. Times hold for this "
        "processor; the order of files mostly holds elsewhere, the ratios do not.",
        lambda report: figures.draw_latency_by_batch(report.baseline, report.variants),
    ),
    "roc_precision_recall": Picture(
        "ROC and precision-recall",
        "All thresholds at once. Two files whose curves cross have an AUC difference that hides a trade: the lower "
        "panels show where a file finds more positives than the baseline and where fewer. Ties count as if broken at "
        "random.",
        lambda report: figures.draw_roc_precision_recall(report.baseline, report.variants),
        of_target=True,
    ),
    "calibration": Picture(
        "Calibration",
        "AUC does not see whether probabilities are right; bids, budgets and thresholds do. A file whose ratio "
        "leaves the baseline's in the upper deciles needs recalibration before its scores are used as probabilities.",
        lambda report: figures.draw_calibration(report.baseline, report.variants),
        of_target=True,
    ),
    "training_curves": Picture(
        "Training",
        "Where validation AUC falls while the loss still does, the network overfits; where it dips as sparsity "
        "rises and comes back, the schedule left enough steps to recover; where it does not come back, it did not.",
        lambda report: figures.draw_training_curves(
            report.curves, [report.baseline.name, *(variant.name for variant in report.variants)]
        ),
    ),
}


@dataclass(frozen=True)
class Slot:
    """The place of one picture in a report: what is drawn, and of which of several targets ("" of all)."""

    picture: Picture
    target: str

    @property
    def heading(self) -> str:
        """The picture's heading with the target."""
        return f"{self.picture.heading}: {self.target}" if self.target else self.picture.heading


# Every file name a report may write; targets beyond these share the tables alone.
PICTURE_NAMES = tuple(
    f"{name}_target_{number}" if number > 1 else name
    for name, picture in PICTURES.items()
    for number in range(1, MOST_TARGETS + 1 if picture.of_target else 2)
)


def slots(report: Report) -> dict[str, Slot]:
    """The pictures of a report by file name, in the order of PICTURES; the first target's have the plain name."""
    targets = list(report.baseline.evaluation.each)[:MOST_TARGETS]
    return {
        f"{name}_target_{number}" if number > 1 else name: Slot(picture, target if picture.of_target else "")
        for name, picture in PICTURES.items()
        for number, target in enumerate(targets if picture.of_target else targets[:1], 1)
    }


def draw_pictures(report: Report) -> dict[str, Figure]:
    """The figures of a report by file name, in the order of `slots`, without those it has nothing for."""
    seen = report.each
    drawn = {}
    for name, slot in slots(report).items():
        figure = slot.picture.draw(seen.get(slot.target, report))
        if figure is not None:
            drawn[name] = _titled(figure, slot.target)
    return drawn


def _titled(figure: Figure, target: str) -> Figure:
    """A figure whose title begins with the target."""
    if target:
        title = " ".join(figure.get_suptitle().split())
        set_title(figure, f"Target '{target}'. {title}")
    return figure


def picture_bytes(figure: Figure, kind: str) -> bytes:
    """A figure as the content of a PNG or SVG file; the same figure gives the same bytes.

    It is laid out once, for the first kind: that takes as long as the drawing.
    """
    content = io.BytesIO()
    with house_style():
        figure.savefig(content, format=kind, dpi=DOTS_PER_INCH, metadata={"Date": None} if kind == "svg" else None)
    figure.set_layout_engine("none")
    return content.getvalue()


def data_uri(content: bytes) -> str:
    """An SVG inside the page itself."""
    return "data:image/svg+xml;base64," + base64.b64encode(content).decode("ascii")
