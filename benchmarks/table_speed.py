"""How fast coded tables are looked up, at the size where tables no longer fit into a cache.

Run: `python benchmarks/table_speed.py` (about a quarter of an hour and 12 GiB on two cores; `--rows 20000` takes a
minute). 26 fields of 1,000,000 rows and dimension 16 in one merged table, a 100-100-100 tower in int8; weights are
random, for speed does not read them, and codes are those of a small table over and over (of mixed bits those of all
rows). Every file is timed in turns with the float32 file, one thread, batch 1 and 128, on the same 2,000 rows again and
again, their ids drawn evenly or as a shop's traffic is (`--traffic zipf`). Beside it how long the export of each file
takes.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import results
from memory import begin_peak_anew, peak_bytes

import tfshop as ts
from tfshop._console import say
from tfshop._keras import keras
from tfshop.compression import Candidate
from tfshop.compression.rebuild import copy_model
from tfshop.data import IdFeature, RandomSplit, Schema, Splits, prepare
from tfshop.models.rebuild import fresh
from tfshop.runtime import compare_latency
from tfshop.tables.codec import Fields

FLOAT32 = "float32, dense in float32"
BATCHES = (1, 128)
CODED = 2500  # rows of a field that are really coded
CODECS: dict[str, Any] = {
    "no codec: one int8 scale": None,
    "Int8, a field": ts.tables.Int8("field"),
    "Int8, a row": ts.tables.Int8(),
    "Int4, a field": ts.tables.Int4("field"),
    "Int4, a row": ts.tables.Int4(),
    "Int2, a field": ts.tables.Int2("field"),
    "product quantization, 4 codes": ts.tables.ProductQuantization(4),
    "product quantization, 2 codes": ts.tables.ProductQuantization(2),
    "Int1, a field": ts.tables.Int1("field"),
    "mixed: 8, 4, 2 and 1 bits, a field": (8, 4, 2, 1),
    "one operator, 8 bits a row": ts.tables.RowwiseLookup(8, choice="max"),
    "one operator, 4 bits a row": ts.tables.RowwiseLookup(4, choice="max"),
}
BITS = {int(codec.bits): codec for codec in (ts.tables.Int8, ts.tables.Int4, ts.tables.Int2, ts.tables.Int1)}
HEADINGS = ("file", "bytes", *(f"us @ {batch}" for batch in BATCHES), *(f"share @ {b}" for b in BATCHES), "export, s")


def main() -> None:
    """Build, code, export and time; print the table, write the JSON."""
    options = _options()
    data = _rows(options)
    model = ts.build_model("mlp", data.schema, dimension=16, hidden=(100, 100, 100), seed=0)
    files: dict[str, bytes] = {}
    spent: dict[str, dict[str, float]] = {}
    for name in (FLOAT32, *options.codecs):
        say(name)
        begin_peak_anew()
        coded = _made(model, CODECS.get(name), data, options)
        before, started = peak_bytes(), time.perf_counter()
        files[name] = ts.Export("float32" if name == FLOAT32 else "int8").to_bytes(coded, data)
        spent[name] = {"export_seconds": time.perf_counter() - started, "peak_bytes": peak_bytes() - before}
        del coded
        keras.backend.clear_session()
    latencies = compare_latency(files, inputs=data.test.inputs, batch_sizes=BATCHES, seconds=options.seconds)
    rows = {
        name: {"bytes": len(files[name]), **spent[name], "p50_us": {str(r.batch_size): r.p50_us for r in latency.rows}}
        for name, latency in latencies.items()
    }
    results.show(f"{options.fields} fields x {options.rows:,} rows x 16, {options.traffic} ids", HEADINGS, _table(rows))
    say(f"written: {results.save('table_speed', {'settings': vars(options), 'rows': rows})}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", type=int, default=26)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of each field's table")
    parser.add_argument("--traffic", choices=("even", "zipf"), default="even", help="how ids are drawn")
    parser.add_argument("--codecs", nargs="*", default=tuple(CODECS), choices=tuple(CODECS), help="only these")
    parser.add_argument("--seconds", type=float, default=2.0, help="of timing each file at each batch size")
    return parser.parse_args()


def _rows(options: argparse.Namespace) -> Splits:
    """Ids of tables whose rows need not be seen: hashed ones."""
    random = np.random.default_rng(0)
    drawn = {
        f"id_{field}": random.integers(0, 2**40, 20_000)
        if options.traffic == "even"
        else random.zipf(1.1, 20_000) % 2**40
        for field in range(options.fields)
    }
    table = ts.read_table(pd.DataFrame({**drawn, "clicked": random.integers(0, 2, 20_000)}))
    features = [IdFeature(name, hash_buckets=options.rows) for name in drawn]
    return prepare(table, Schema(features, target="clicked"), split=RandomSplit(seed=0))


def _made(model: Any, codec: Any, data: Splits, options: argparse.Namespace) -> Any:
    """The network with coded tables; for a tuple of bits each field has one of them, and a lookup for each is built."""
    if codec is None:
        return model
    if not isinstance(codec, tuple | ts.tables.RowwiseLookup):
        return _coded(model, codec, options)
    if isinstance(codec, tuple):
        bits = {f"id_{field}": codec[field % len(codec)] for field in range(options.fields)}
        codec = {name: BITS[own]("field", choice="max") for name, own in bits.items()}
    return ts.EncodeTables(codec).apply(Candidate(model, data.schema), data, 0).model


def _coded(model: Any, codec: Any, options: argparse.Namespace) -> Any:
    """A small table's codes over and over: how long a lookup takes does not depend on what it finds."""
    columns, rows = tuple(range(options.fields)), model.get_layer("table").input_dim // options.fields
    small = np.random.default_rng(0).normal(size=(options.fields * CODED, 16)).astype(np.float32)
    coded = codec.encode(small, fields=Fields(tuple(CODED * field for field in columns), columns))
    codes = coded.arrays["codes"].reshape(options.fields, CODED, -1)
    many = np.tile(codes, (1, -(-rows // CODED), 1))[:, :rows].reshape(options.fields * rows, -1)
    fields = Fields(tuple(rows * field for field in columns), columns)
    table = replace(coded, num_rows=len(many), arrays={**coded.arrays, "codes": many}, fields=fields)
    lookup = table.layer("table")
    return copy_model(model, lambda layer: lookup if layer.name == "table" else fresh(layer), unfilled=("table",))


def _table(rows: dict[str, dict[str, Any]]) -> list[list[str]]:
    base = rows[FLOAT32]["p50_us"]
    return [
        [
            name,
            f"{row['bytes'] / 1e6:,.1f} MB",
            *(f"{row['p50_us'][str(batch)]:.1f}" for batch in BATCHES),
            *(f"{row['p50_us'][str(batch)] / base[str(batch)]:.2f}" for batch in BATCHES),
            f"{row['export_seconds']:.1f}",
        ]
        for name, row in rows.items()
    ]


if __name__ == "__main__":
    main()
