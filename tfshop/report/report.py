"""The report: every file beside its baseline, in sentences, tables and pictures."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tfshop.errors import TfshopError
from tfshop.report.folder import write_folder
from tfshop.report.page import render_page
from tfshop.report.pictures import PICTURE_NAMES, draw_pictures, picture_bytes, slots
from tfshop.report.tables import ResultTable, all_tables, left_alone_tables, markdown_table, summary_table
from tfshop.report.variant import TrainingCurve, Variant
from tfshop.report.verdict import judge

PAGE = "index.html"
TABLES = "results.md"
KINDS = ("png", "svg")
KNOWN = frozenset({PAGE, TABLES, *(f"{name}.{kind}" for name in PICTURE_NAMES for kind in KINDS)})


@dataclass(frozen=True, eq=False)
class Report:
    """What was measured on a baseline and on the files made from it.

    Args:
        title: Of the page.
        baseline: The uncompressed file.
        variants: The others, in the order they are shown; names differ.
        curves: How the trainings went.
        dataset: What was learned and how it was split, in a sentence or two.
        limits: What was asked for: "max_auc_drop", "max_size_bytes".
        notes: Remarks on the whole, in sentences.

    Raises:
        TfshopError: For no variants, names that come twice, and files scored on different rows.
    """

    title: str
    baseline: Variant
    variants: tuple[Variant, ...]
    curves: tuple[TrainingCurve, ...] = ()
    dataset: str = ""
    limits: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a comparison of what cannot be compared."""
        names = [variant.name for variant in (self.baseline, *self.variants)]
        if not self.variants or len(set(names)) != len(names):
            raise TfshopError(
                f"report '{self.title}', files {names}. Expected a baseline and at least one other file, each with a "
                "name of its own. Fix: rename the variants."
            )
        for variant in self.variants:
            if not np.array_equal(variant.truth, self.baseline.truth):
                raise TfshopError(
                    f"report '{self.title}', '{variant.name}' has other test labels than '{self.baseline.name}'. "
                    "Expected the same rows in the same order. Fix: score both files on one split."
                )

    @property
    def each(self) -> dict[str, Report]:
        """The report as seen by each target, in order; under the name "" where there is one."""
        seen = [variant.each for variant in self.variants]
        return {
            target: replace(self, baseline=baseline, variants=tuple(variant[target] for variant in seen))
            for target, baseline in self.baseline.each.items()
        }

    @property
    def headlines(self) -> dict[str, str]:
        """By name: `3.9x smaller, 3.1x faster at batch 128, AUC -0.0002 [-0.0004, +0.0000]`."""
        return {variant.name: judge(variant, self.baseline, self.limits).sentence for variant in self.variants}

    @property
    def summary(self) -> ResultTable:
        """Size, speed and quality on test; `rich_table(report.summary)` prints it."""
        return summary_table(self.baseline, self.variants)

    def to_markdown(self) -> str:
        """All tables in Markdown, and what passes left alone."""
        tables = [*all_tables(self.baseline, self.variants), *left_alone_tables(self.variants)]
        parts = [f"## {table.title}\n\n{table.note}\n\n{markdown_table(table)}\n" for table in tables]
        return "\n".join([f"# {self.title}\n", *parts])

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write `index.html`, `results.md` and each picture as PNG and SVG; an earlier report there is replaced.

        The page holds its pictures itself and asks no network for anything. All files are written beside the folder
        and renamed into place.

        Returns:
            The path of the page.

        Raises:
            TfshopError: Where the folder holds files that no report wrote.
        """
        content = {
            f"{name}.{kind}": picture_bytes(figure, kind)
            for name, figure in draw_pictures(self).items()
            for kind in KINDS
        }
        vectors = {name: content[f"{name}.svg"] for name in slots(self) if f"{name}.svg" in content}
        content[PAGE] = render_page(self, vectors).encode("utf-8")
        content[TABLES] = self.to_markdown().encode("utf-8")
        return write_folder(folder, content, KNOWN) / PAGE

    def _repr_html_(self) -> str:
        """What a notebook shows for a report: the page without its own head."""
        vectors = {name: picture_bytes(figure, "svg") for name, figure in draw_pictures(self).items()}
        return render_page(self, vectors, whole=False)
