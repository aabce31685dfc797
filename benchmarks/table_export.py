"""How long a large table takes from float rows to a file, and how much memory.

Run: `python benchmarks/table_export.py` (some minutes and 6 GiB on two cores; `--rows 1000000` takes less). One merged
table of ten fields with a million rows each and dimension 16, of random numbers as after training; `EncodeTables` with
each codec, or `AllocateTables`, and `Export`, as a user calls them. Wanted: within three minutes and three times the
memory of the float table.

Memory is the most that was resident. "above the start" has taken off what was resident before coding began: Python,
TensorFlow, the rows of the log, and the float network with its table, which is thus not in it, nor is what an earlier
codec left behind; "in all" is all of it. The shares are of the float table's bytes.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import pandas as pd
import results
from memory import begin_peak_anew, peak_bytes

import tfshop as ts
from tfshop._console import say
from tfshop._keras import keras
from tfshop.compression import Candidate
from tfshop.data import IdFeature, RandomSplit, Schema, Splits, prepare

FIELDS, DIMENSION = 10, 16
INT4, INT2 = ts.tables.Int4("field"), ts.tables.Int2("field")
PASSES: dict[str, Any] = {
    "Int8, a row": ts.EncodeTables(ts.tables.Int8()),
    "Int4, a row": ts.EncodeTables(ts.tables.Int4()),
    "Int4, a field": ts.EncodeTables(INT4),
    "Int2, a field": ts.EncodeTables(INT2),
    "product quantization, 4 codes": ts.EncodeTables(ts.tables.ProductQuantization(4)),
    "half of the lookups in Int4, the rest in Int2": ts.EncodeTables(ts.tables.Grouped((INT4, INT2), (0.5,))),
    "Int4, rows never seen folded": ts.EncodeTables(ts.tables.RareRows(INT4, min_count=1)),
    "allocated, an eighth of the bytes": ts.AllocateTables(max_bytes=0.125),
}
HEADINGS = ("codec", "float table", "file", "coding, s", "export, s", "peak above the start", "peak in all")


def main() -> None:
    """Code and export with each codec, print the table, write the JSON."""
    options = _options()
    data = _rows(options.rows)
    model = ts.build_model("mlp", data.schema, dimension=DIMENSION, hidden=(100, 100, 100), seed=0)
    table = 4 * model.get_layer("table").count_params()
    rows = {}
    for name in options.codecs:
        say(name)
        rows[name] = {"table_bytes": table, **_measured(model, PASSES[name], data)}
        keras.backend.clear_session()
    results.show(f"{options.rows:,} rows x {DIMENSION}", HEADINGS, [_cells(name, row) for name, row in rows.items()])
    say(f"written: {results.save('table_export', {'settings': vars(options), 'rows': rows})}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000, help="of the merged table")
    parser.add_argument("--codecs", nargs="*", default=tuple(PASSES), choices=tuple(PASSES), help="only these")
    return parser.parse_args()


def _rows(num_rows: int) -> Splits:
    """Ids of hashed features, whose tables have rows that were never seen."""
    random = np.random.default_rng(0)
    drawn = {f"id_{field}": random.integers(0, 2**40, 20_000) for field in range(FIELDS)}
    table = ts.read_table(pd.DataFrame({**drawn, "clicked": random.integers(0, 2, 20_000)}))
    features = [IdFeature(name, hash_buckets=num_rows // FIELDS) for name in drawn]
    return prepare(table, Schema(features, target="clicked"), split=RandomSplit(seed=0))


def _measured(model: Any, coding: Any, data: Splits) -> dict[str, Any]:
    begin_peak_anew()
    before, started = peak_bytes(), time.perf_counter()
    coded = coding.apply(Candidate(model, data.schema), data, 0).model
    between = time.perf_counter()
    content = ts.Export("int8").to_bytes(coded, data)
    ended = time.perf_counter()
    return {
        "bytes": len(content),
        "coding_seconds": between - started,
        "export_seconds": ended - between,
        "resident_before_bytes": before,
        "peak_bytes": peak_bytes(),
    }


def _cells(name: str, row: dict[str, Any]) -> list[str]:
    return [
        name,
        f"{row['table_bytes'] / 1e6:,.0f} MB",
        f"{row['bytes'] / 1e6:,.0f} MB",
        f"{row['coding_seconds']:.1f}",
        f"{row['export_seconds']:.1f}",
        *(
            f"{most / 1e6:,.0f} MB ({most / row['table_bytes']:.1f}x)"
            for most in (row["peak_bytes"] - row["resident_before_bytes"], row["peak_bytes"])
        ),
    ]


if __name__ == "__main__":
    main()
