"""The rows of `tables.py` as tables, and as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

PARTS = ("codes after training", "tuned", "whole file")
HEADINGS = ("file", "bytes a row", "tables", "dense half", "file size", "AUC difference, 95%", "each seed, lower end")
LOWEST_DRAWN = -0.008  # of AUC differences: what loses more would leave the rest in a line
COLOURS = dict(zip(PARTS, ("tab:gray", "tab:blue", "tab:green"), strict=True))
Seeds = Mapping[str, Mapping[str, Any]]  # of each seed the rows by name


def table(seeds: Seeds, part: str) -> tuple[tuple[str, ...], list[list[str]]]:
    """Headings and lines, one a row: sizes of the first seed, its interval, differences and lower ends of all seeds."""
    first = {name: row for name, row in next(iter(seeds.values()), {}).items() if row["part"] == part}
    lines = [_line(name, row, seeds) for name, row in first.items()]
    if not any("logit_error" in row for row in first.values()):
        return HEADINGS, lines
    errors = [
        f"{row['logit_error']:.3f} ({row['baseline']['logit_error']:.3f})" if "logit_error" in row else ""
        for row in first.values()
    ]
    return (*HEADINGS, "logit error (float32)"), [[*line, e] for line, e in zip(lines, errors, strict=True)]


def _line(name: str, row: Mapping[str, Any], seeds: Seeds) -> list[str]:
    title = name.removeprefix(f"{row['part']}: ").removeprefix("stock: ")
    if "refused" in row:
        return [title, *["refused"] * (len(HEADINGS) - 1)]
    base = row["baseline"]
    over = [found[name]["difference"] for found in seeds.values() if found.get(name, {}).get("difference")]
    bytes_a_row = row["tables"] / base["tables"] * 4 * row["dimension"]
    return [
        title,
        f"{bytes_a_row:.1f}",
        f"{row['tables'] / 1e3:,.0f} kB ({base['tables'] / row['tables']:.1f}x)",
        f"{row['dense'] / 1e3:,.0f} kB ({base['dense'] / row['dense']:.1f}x)",
        f"{row['bytes'] / 1e3:,.0f} kB ({base['bytes'] / row['bytes']:.1f}x)",
        "{:+.4f} [{:+.4f}, {:+.4f}]".format(*row["difference"]),
        ", ".join(f"{middle:+.4f} [{low:+.4f}]" for middle, low, _ in over),
    ]


def draw(rows: Mapping[str, Any], path: Path) -> None:
    """Size of whole files against AUC, and what uneven bits are expected to cost beside what they cost."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
    for name, row in rows.items():
        if "refused" in row or not row["difference"] or row["difference"][0] < LOWEST_DRAWN:
            continue
        times, (middle, low, high) = row["baseline"]["bytes"] / row["bytes"], row["difference"]
        stock = name.startswith("stock: ")
        colour = "tab:red" if stock else COLOURS[row["part"]]
        left.errorbar(times, middle, [[middle - low], [high - middle]], fmt="x" if stock else "o", ms=4, color=colour)
    for part, colour in {**COLOURS, "stock tools": "tab:red"}.items():
        left.plot([], [], "x" if part == "stock tools" else "o", ms=4, color=colour, label=part)
    left.axhline(0, color="black", lw=0.6)
    left.set(xscale="log", xlabel="times smaller than the float32 file", ylabel="AUC difference on test, 95%")
    left.set_xticks([1, 2, 4, 8, 16, 32, 64], [f"{ticks}x" for ticks in (1, 2, 4, 8, 16, 32, 64)])
    left.set_title("whole files")
    left.legend(frameon=False)
    frontier = next((row["frontier"] for row in rows.values() if "frontier" in row), None)
    if frontier:
        points = sorted(frontier["rows"], key=lambda point: point["bytes"])
        sizes = [point["bytes"] / 1e3 for point in points]
        right.plot(sizes, [p["expected_auc"] - frontier["float"] for p in points], color="tab:gray", label="expected")
        seen = [point for point in points if point["measured_auc"] is not None]
        measured = [point["measured_auc"] - frontier["float"] for point in seen]
        right.plot([p["bytes"] / 1e3 for p in seen], measured, "o", color="tab:blue", label="measured")
    right.axhline(0, color="black", lw=0.6)
    right.set(xscale="log", xlabel="kB of the tables, before any tuning", ylabel="AUC difference on validation")
    right.set_title("uneven bits: AllocateTables")
    right.legend(frameon=False)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
