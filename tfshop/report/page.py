"""One HTML page that holds everything: tables, pictures, plans, and how to read them."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from tfshop.report.pictures import data_uri, slots
from tfshop.report.plan_text import plan_lines
from tfshop.report.tables import all_tables
from tfshop.report.verdict import judge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tfshop.report.report import Report

TEMPLATE = "page.html.j2"
MINUS = "\u2212"


def render_page(report: Report, pictures: Mapping[str, bytes], *, whole: bool = True) -> str:
    """The page of a report.

    Args:
        report: What to show.
        pictures: SVG content by name, as `draw_pictures` gives them.
        whole: A page of its own; False gives what goes into a notebook's output.
    """
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    environment.filters["minus"] = _with_minus
    environment.filters["breakable"] = _breakable
    template = environment.from_string(files("tfshop.report").joinpath(TEMPLATE).read_text(encoding="utf-8"))
    return template.render(
        whole=whole,
        report=report,
        files=[(variant, judge(variant, report.baseline, report.limits)) for variant in report.variants],
        tables=all_tables(report.baseline, report.variants),
        pictures=[
            (name, slot.heading, slot.picture, data_uri(pictures[name]))
            for name, slot in slots(report).items()
            if name in pictures
        ],
        plans=[(variant.name, plan_lines(variant.plan)) for variant in (report.baseline, *report.variants)],
        left_alone=[(file.name, file.left_alone) for file in report.variants if file.left_alone],
        remarks=[(file.name, file.evaluation.notes) for file in (report.baseline, *report.variants)],
    )


def _with_minus(text: str) -> str:
    """Hyphens before a number as true minus signs, which are as wide as a plus."""
    return re.sub(r"(?<![\w.])-(?=\d)", MINUS, text)


def _breakable(name: str) -> Markup:
    """A name that may be broken after its underscores."""
    return Markup("_<wbr>").join(escape(part) for part in name.split("_"))
