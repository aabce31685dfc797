"""The same trained network along the stock routes and along tfshop's, in one table.

Run: `python benchmarks/stock_route.py` (10 to 15 minutes on two cores; `--quick` takes two).
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import results
from routes import ROUTES, Start

import tfshop as ts
from tfshop._console import say
from tfshop.data.binding import bind
from tfshop.data.schema import InputSpec
from tfshop.data.split import Splits
from tfshop.evaluation.measured import Measured, measure_file
from tfshop.report.units import difference_text, size_text, time_text
from tfshop.runtime import Latency, bytes_by_part, compare_latency, count_zeros

BASELINE = "TFLiteConverter float32"
LEARNING_RATE = 3e-3  # as the demo trains, see demo_settings.py
BATCH_SIZES = (1, 128)
TIMED_ROWS = 4096
ERROR_LENGTH = 400
NAMED_ERROR = re.compile(r"\w*Error: ")
HEADINGS = ("route", "size", "gzip", "tables", "test AUC", "AUC difference, 95%", "tie rate", "zeros")
TIMES = ("p50, 1", "p99, 1", "p50, 128", "p99, 128")


@dataclass(frozen=True, eq=False)
class Row:
    """One route: what it gave, or why it gave nothing.

    Attributes:
        name: Of the route.
        measured: The file with its numbers; None where the route failed.
        error: What was raised.
        seconds: Time the route took, measuring included.
    """

    name: str
    measured: Measured | None
    error: str
    seconds: float


def main() -> None:
    """Measure every route for every seed, print the tables, write the JSON."""
    options = _options()
    data = ts.datasets.complete_journey(fraction=options.fraction)
    runs = [_run(data, options, seed) for seed in range(options.seeds)]
    for seed, rows in enumerate(runs):
        _show(rows, f"seed {seed}: {data.test.num_rows:,} test rows")
    if len(runs) > 1:
        _show_means(runs)
    content = {
        "settings": vars(options),
        "rows": [{"seed": seed, **_plain(row)} for seed, rows in enumerate(runs) for row in rows],
    }
    say(f"written: {results.save('stock_route_quick' if options.quick else 'stock_route', content)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fraction", type=float, default=1.0, help="of the households, in (0, 1]")
    parser.add_argument("--epochs", type=int, default=2, help="most epochs of training the network")
    parser.add_argument("--routes", nargs="*", default=(), help="only those whose name has one of these words")
    parser.add_argument("--seeds", type=int, default=1, help="how many times all of it is done")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the households: to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.fraction = min(options.fraction, 0.05)
    return options


def _run(data: Splits, options: argparse.Namespace, seed: int) -> list[Row]:
    """Train once, follow every route, then time all files in turns."""
    model = ts.build_model("mlp", data.schema, dimension=16, hidden=(400, 400, 400), seed=seed)
    ts.train(model, data, epochs=options.epochs, learning_rate=LEARNING_RATE, seed=seed)
    began = time.perf_counter()
    float32 = measure_file(BASELINE, ts.Export("float32").to_bytes(model, data), data)
    rows = [Row(BASELINE, float32, "", time.perf_counter() - began)]
    start = Start(model, data, float32, seed)
    names = [name for name in ROUTES if not options.routes or any(word in name for word in options.routes)]
    for number, name in enumerate(names, 1):
        say(f"route {number} of {len(names)}: {name}")
        rows.append(_follow(name, start))
    return _timed(rows, data)


def _follow(name: str, start: Start) -> Row:
    """One route; whatever it raises goes into the table."""
    began = time.perf_counter()
    try:
        measured, error = ROUTES[name](start, name), ""
    except Exception as raised:
        measured, error = None, _reason(raised)
    return Row(name, measured, error, time.perf_counter() - began)


def _reason(error: Exception) -> str:
    """What went wrong, without the lines of source code that Keras puts into its messages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no message"]
    named = [line for line in lines if NAMED_ERROR.match(line)]
    return (named[-1] if named else f"{type(error).__name__}: {' '.join(lines)}")[:ERROR_LENGTH]


def _timed(rows: list[Row], data: Splits) -> list[Row]:
    """The rows with the latency of their files, all timed in turns on the same test rows."""
    files = {row.name: row.measured.content for row in rows if row.measured is not None}
    times = compare_latency(files, batch_sizes=BATCH_SIZES, inputs=_all_inputs(data), seconds=1.0)
    return [_with_latency(row, times.get(row.name)) for row in rows]


def _with_latency(row: Row, latency: Latency | None) -> Row:
    if row.measured is None or latency is None:
        return row
    return Row(row.name, row.measured.with_latency(latency), row.error, row.seconds)


def _all_inputs(data: Splits) -> dict[str, np.ndarray]:
    """Test rows packed as our networks take them, and one input a feature as others do."""
    sample = data.test.take(TIMED_ROWS, seed=0)
    specs = {feature.name: InputSpec((1,), "int32") for feature in data.schema.id_features}
    return {**sample.inputs, **bind(sample.inputs, data.schema, specs)}


def _cells(row: Row) -> list[str]:
    if row.measured is None:
        return [row.name, "no file", *["-"] * (len(HEADINGS) + len(TIMES) - 2)]
    evaluation = row.measured.evaluation
    zeros, weights = count_zeros(row.measured.content)
    times = [evaluation.latency.at(size) for size in BATCH_SIZES]
    return [
        row.name,
        size_text(evaluation.size_bytes),
        size_text(evaluation.gzip_bytes),
        size_text(bytes_by_part(row.measured.content)["tables"]),
        f"{evaluation.test.auc:.4f}",
        difference_text(evaluation.auc_difference_test),
        f"{evaluation.test.tie_rate:.1e}",
        f"{zeros / max(weights, 1):.0%}",
        *[time_text(value) for found in times for value in (found.p50_us, found.p99_us)],
    ]


def _show(rows: list[Row], what: str) -> None:
    note = (
        f"Differences to '{BASELINE}', paired DeLong. Zeros: share of the dense weights in the file. "
        "Latency: one call, one thread, at batch 1 and 128, all files in turns."
    )
    title = f"Promotion response, mlp 400-400-400, {what}"
    results.show(title, (*HEADINGS, *TIMES), [_cells(row) for row in rows], note=note)
    failed = [(row.name, row.error) for row in rows if row.measured is None]
    if failed:
        results.show("Routes that gave no file", ("route", "what it raised"), failed, numbers=False)


def _show_means(runs: list[list[Row]]) -> None:
    """Mean difference of each route over the seeds, with its t-interval."""
    found = []
    for versions in zip(*runs, strict=True):
        measured = [row.measured.evaluation.auc_difference_test for row in versions if row.measured is not None]
        differences = [difference.difference for difference in measured if difference is not None]
        if differences:
            mean, low, high = results.mean_interval(differences)
            found.append((versions[0].name, f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]", str(len(differences))))
    results.show("Over the seeds", ("route", "mean AUC difference, 95% t-interval", "runs"), found)


def _plain(row: Row) -> Mapping[str, Any]:
    plain: dict[str, Any] = {"route": row.name, "error": row.error, "seconds": round(row.seconds, 1)}
    if row.measured is not None:
        plain["evaluation"] = row.measured.evaluation.to_dict()
        plain["bytes_by_part"] = dict(bytes_by_part(row.measured.content))
        plain["zeros"] = list(count_zeros(row.measured.content))
    return plain


if __name__ == "__main__":
    main()
