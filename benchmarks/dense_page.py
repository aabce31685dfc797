"""The rows of `dense.py` as tables, and which of them reach what is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import results

BATCHES = (1, 128, 512)
SMALLER, FASTER, LOWEST = 16.0, 10.0, -0.001  # what is wanted: dense bytes, dense half at 128, AUC's lower end
MOST_TIME, MOST_MEMORY = 1.0, 2.0  # shares of the training's
HEADINGS = (
    "file",
    "dense bytes",
    "after gzip",
    "multiplies",
    "AUC difference, 95%",
    *(f"us @ {batch}" for batch in BATCHES),
    "faster @ 128",
    "dense half",
    "time / training",
    "CPU / training",
    "memory / training",
)


def _cells(name: str, row: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    if "refused" in row:
        return [name, *["refused"] * (len(HEADINGS) - 1)]
    base, tables = found["rows"]["float32"], found["tables_us"]["128"]
    training = row["training"]  # in the same run, for the machine may have had other work in another
    whole, own = base["p50_us"]["128"], row["p50_us"]["128"]
    low_high = row["difference"]
    return [
        name,
        f"{row['dense_bytes'] / 1e3:,.0f} kB ({base['dense_bytes'] / row['dense_bytes']:.1f}x)",
        f"{row['dense_gzip'] / 1e3:,.0f} kB ({base['dense_gzip'] / row['dense_gzip']:.1f}x)",
        f"{row['multiplies'] / 1e3:,.0f}k",
        "" if low_high is None else "{:+.4f} [{:+.4f}, {:+.4f}]".format(*low_high),
        *(f"{row['p50_us'][str(batch)]:.1f}" for batch in BATCHES),
        f"{whole / own:.1f}x",
        f"{(whole - tables) / (own - tables):.1f}x",
        f"{row['pass_seconds'] / training['seconds']:.2f}" if "pass_seconds" in row else "",
        f"{row['cpu_seconds'] / training['cpu_seconds']:.2f}" if "cpu_seconds" in row else "",
        f"{row['peak_bytes'] / training['peak_bytes']:.2f}",
    ]


def _table(found: Mapping[str, Any]) -> list[list[str]]:
    return [_cells(name, row, found) for name, row in found["rows"].items()]


def _reached(found: Mapping[str, Any]) -> str:
    """Which files are small, fast and good enough, and made in time and memory."""
    base, tables = found["rows"]["float32"], found["tables_us"]["128"]
    fine = [
        f"`{name}`"
        for name, row in found["rows"].items()
        if row.get("difference")
        and base["dense_bytes"] >= SMALLER * row["dense_bytes"]
        and base["p50_us"]["128"] - tables >= FASTER * (row["p50_us"]["128"] - tables)
        and row["difference"][1] > LOWEST
        and row["cpu_seconds"] <= MOST_TIME * row["training"]["cpu_seconds"]
        and row["peak_bytes"] <= MOST_MEMORY * row["training"]["peak_bytes"]
    ]
    return (
        f"At least {SMALLER:g} times smaller and {FASTER:g} times faster in the dense half, lower end above {LOWEST:g},"
        f" no more processors' time than the training took and twice its memory: {', '.join(fine) or 'none'}."
    )


def show(network: str, found: Mapping[str, Any]) -> None:
    """Print the table of a network."""
    base = found["rows"]["float32"]
    training = found["training"]
    note = (
        f"float32: test AUC {base['test_auc']:.4f}, {training['seconds']:.0f} s and "
        f"{training['peak_bytes'] / 2**20:.0f} MiB of training. Time and memory of the passes are shares of those. "
        f"{_reached(found)}"
    )
    results.show(network, HEADINGS, _table(found), note=note)


def page(found: Mapping[str, Any]) -> str:
    """The same in Markdown."""
    return f"{results.markdown(HEADINGS, _table(found))}\n\n{_reached(found)}"
