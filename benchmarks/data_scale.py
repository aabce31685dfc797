"""How fast and in how much memory a log larger than memory is prepared and learned from.

Run: `python benchmarks/data_scale.py` (100 million rows, some twenty minutes on two cores, about 12 GB of disk;
`--quick` takes one minute).

A log of 15 columns is written to Parquet: ten columns of ids (half of them text, half integers; an id is drawn with a
probability of about one over its rank; up to a million different ones a column), three of numbers with holes, the day,
and a label drawn from planted effects of three of the ids and a number. Rows are sorted by day. Then, each in a process
of its own:

1. fit: everything that is learned and checked before a row can be encoded, the statistics of numbers too;
2. encode: rows to shards on disk;
3. reuse: the same call again, which checks the shards' checksums;
4. train: one epoch of a small network over the shuffled shards, with the scoring of the validation split.

And once more with one column of ten million different ids. Everything is removed at the end, also after an error.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from memory import begin_peak_anew, peak_bytes

DISTINCT = (1_000_000, 300_000, 100_000, 50_000, 10_000, 5_000, 1_000, 500, 100, 20)
EFFECTS = (2, 4, 7)  # the id columns that move the label
DAYS, VALIDATION_FROM, TEST_FROM = 100, 94, 97
UNIFORM = "(hash(i * 64 + {salt}) / 18446744073709551616.0)"  # hash(i, salt) is one number, xored: not independent
GIB = 2**30
MEMORY_LIMIT_GIB, FIT_ROWS_PER_SECOND, ENCODE_ROWS_PER_SECOND = 6.0, 1e6, 5e5
HEADINGS = ("phase", "rows", "seconds", "rows/s", "wanted", "peak memory, GiB", "note")


def main() -> None:
    """Run the phases one after the other, print the table, write the JSON."""
    options = _options()
    if options.phase:
        print(json.dumps(PHASES[options.phase](options)))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the folder is removed
    folder = Path(tempfile.mkdtemp(prefix="tfshop-scale-", dir=options.folder))
    try:
        found = _run_all(folder, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _report(found, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000_000, help="of the log")
    parser.add_argument("--distinct", type=int, default=10_000_000, help="ids of the large column; 0 leaves it out")
    parser.add_argument("--batch-size", type=int, default=16_384, help="of the training")
    parser.add_argument("--folder", type=Path, default=None, help="where the temporary folder goes")
    parser.add_argument("--quick", action="store_true", help="two million rows: to see that it runs")
    parser.add_argument("--phase", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.rows, options.distinct = min(options.rows, 2_000_000), min(options.distinct, 200_000)
    return options


def _run_all(folder: Path, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Run each phase in a fresh process, so that its peak memory is its own."""
    found: dict[str, dict[str, Any]] = {}
    for phase in PHASES:
        if phase == "many ids" and not options.distinct:
            continue
        own = ["--phase", phase, "--folder", str(folder), "--rows", str(options.rows)]
        own += ["--distinct", str(options.distinct), "--batch-size", str(options.batch_size)]
        print(f"{phase} …", file=sys.stderr, flush=True)
        done = subprocess.run([sys.executable, __file__, *own], stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
        found |= json.loads(done.stdout.splitlines()[-1])
        print(f"  {json.loads(done.stdout.splitlines()[-1])}", file=sys.stderr, flush=True)
    return found


@contextmanager
def _measured(rows: int) -> Iterator[dict[str, Any]]:
    """Fill in the seconds and the peak memory of a block: resident pages, those of mapped files too."""
    figures: dict[str, Any] = {"rows": rows}
    begin_peak_anew()
    start, cpu = time.perf_counter(), time.process_time()
    yield figures
    figures["seconds"] = time.perf_counter() - start
    figures["cpu_seconds"] = time.process_time() - cpu
    figures["peak_bytes"] = peak_bytes()


def _generate(options: argparse.Namespace) -> dict[str, Any]:
    """Write the log."""
    ids = [f"CAST(floor(pow({distinct}, {UNIFORM.format(salt=k)})) AS INTEGER)" for k, distinct in enumerate(DISTINCT)]
    columns = [f"'item-' || {value} AS id_{k}" if k % 2 == 0 else f"{value} AS id_{k}" for k, value in enumerate(ids)]
    for k in range(3):
        hole, value = UNIFORM.format(salt=20 + k), UNIFORM.format(salt=30 + k)
        columns.append(f"CASE WHEN {hole} >= 0.05 THEN CAST(-ln(1 - {value}) AS FLOAT) END AS value_{k}")
    effects = [f"2.0 * (hash({ids[k]} * 64 + {40 + k}) / 18446744073709551616.0) - 1.0" for k in EFFECTS]
    logit = f"{' + '.join(effects)} - 1.0 + 0.3 * ln(1 - {UNIFORM.format(salt=30)})"
    columns.append(f"CAST(i * {DAYS} // {options.rows} AS SMALLINT) AS day")
    columns.append(f"CAST({UNIFORM.format(salt=50)} < 1 / (1 + exp(-({logit}))) AS TINYINT) AS clicked")
    return {"generate": _write(options.folder / "log.parquet", columns, options.rows)}


def _write(path: Path, columns: list[str], rows: int) -> dict[str, Any]:
    import duckdb  # noqa: PLC0415  (each phase imports what it needs, so that its memory is its own)

    with _measured(rows) as figures, closing(duckdb.connect()) as connection:
        connection.execute("SET memory_limit = '2GiB'")
        connection.execute("SET enable_progress_bar = false")
        connection.execute(f"SET temp_directory = '{path.parent / 'spill'}'")
        selected = ", ".join(columns)
        connection.execute(f"COPY (SELECT {selected} FROM range({rows}) AS t(i)) TO '{path}' (FORMAT parquet)")  # noqa: S608
    return {**figures, "note": f"{path.stat().st_size / GIB:.2f} GiB of Parquet"}


def _prepare(options: argparse.Namespace) -> Any:
    from tfshop.data import IdFeature, NumericFeature, Schema, TimeSplit, prepare  # noqa: PLC0415

    ids = [IdFeature(f"id_{k}") for k in range(len(DISTINCT))]
    numbers = [NumericFeature(f"value_{k}", transform="log1p") for k in range(3)]
    schema = Schema([*ids, *numbers], target="clicked", time="day")
    split = TimeSplit("day", validation=VALIDATION_FROM, test=TEST_FROM)
    return prepare(
        options.folder / "log.parquet",
        schema,
        split=split,
        batch_size=options.batch_size,
        cache_dir=options.folder / "cache",
    )


def _fit_and_encode(options: argparse.Namespace) -> dict[str, Any]:
    """Prepare the log; fitting is all but the encoding."""
    found, data = _timed_apart(options.rows, lambda: _prepare(options))
    found["fit"]["note"] = f"{sum(data.schema.tables.values()):,} table rows"
    used = sum(file.stat().st_size for file in (options.folder / "cache").rglob("*") if file.is_file())
    found["encode"]["note"] = f"{used / GIB:.2f} GiB on disk"
    return found


def _timed_apart(rows: int, prepare: Callable[[], Any]) -> tuple[dict[str, dict[str, Any]], Any]:
    """Prepare, and tell the seconds and memory of encoding from those of the rest."""
    from tfshop.data import preparation  # noqa: PLC0415

    encode, encoding = preparation._encode_shards, {}
    peaks = [0]

    def measured(*arguments: Any) -> Any:
        peaks.append(peak_bytes())
        with _measured(rows) as figures:
            answer = encode(*arguments)
        encoding.update(figures)
        begin_peak_anew()
        return answer

    preparation._encode_shards = measured
    with _measured(rows) as fitting:
        data = prepare()
    fitting["seconds"] -= encoding["seconds"]
    fitting["cpu_seconds"] -= encoding["cpu_seconds"]
    fitting["peak_bytes"] = max(*peaks, fitting["peak_bytes"])
    return {"fit": fitting, "encode": encoding}, data


def _reuse(options: argparse.Namespace) -> dict[str, Any]:
    """Prepare again: nothing is read but the shards."""
    with _measured(options.rows) as figures:
        data = _prepare(options)
    return {"reuse": {**figures, "note": f"{data.train.num_rows:,} training rows"}}


def _train(options: argparse.Namespace) -> dict[str, Any]:
    """Train one epoch."""
    import tfshop as ts  # noqa: PLC0415

    data = _prepare(options)
    model = ts.build_model("mlp", data.schema, dimension=8, hidden=(64,), seed=0)
    with _measured(data.train.num_rows) as figures:
        history = ts.train(model, data, epochs=1)
    note = f"validation AUC {history.epochs[0].validation_auc:.4f}, {model.count_params():,} parameters"
    return {"train": {**figures, "note": note}}


def _many_ids(options: argparse.Namespace) -> dict[str, Any]:
    """Prepare a log with a column of as many different ids as asked for, each twice or more in training."""
    from tfshop.data import IdFeature, RandomSplit, Schema, prepare  # noqa: PLC0415

    rows, path = 3 * options.distinct, options.folder / "many.parquet"
    columns = [f"'user-' || (i % {options.distinct}) AS user_id", "hash(i, 1) % 50 AS shop", "i % 2 AS clicked"]
    _write(path, columns, rows)
    schema = Schema([IdFeature("user_id"), IdFeature("shop")], target="clicked")
    split = RandomSplit(validation=0.01, test=0.01)
    found, data = _timed_apart(rows, lambda: prepare(path, schema, split=split, cache_dir=options.folder / "many"))
    known = data.schema.tables["user_id"] - 1
    return {f"{name}, many ids": {**figures, "note": f"{known:,} ids in one column"} for name, figures in found.items()}


PHASES: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "generate": _generate,
    "prepare": _fit_and_encode,
    "reuse": _reuse,
    "train": _train,
    "many ids": _many_ids,
}


def _report(found: dict[str, dict[str, Any]], options: argparse.Namespace) -> None:
    import results  # noqa: PLC0415

    wanted = {"fit": FIT_ROWS_PER_SECOND, "encode": ENCODE_ROWS_PER_SECOND}
    rows = [
        (
            name,
            f"{figures['rows']:,}",
            f"{figures['seconds']:,.1f}",
            f"{figures['rows'] / figures['seconds']:,.0f}",
            f"{wanted[name]:,.0f}" if name in wanted else "",
            f"{figures['peak_bytes'] / GIB:.2f}",
            figures.get("note", ""),
        )
        for name, figures in found.items()
    ]
    note = f"Peak memory, wanted: {MEMORY_LIMIT_GIB:g} GiB. Resident pages of the process, those of mapped files too."
    results.show(f"A log of {options.rows:,} rows x 15 columns", HEADINGS, rows, note=note)
    content = {"rows": options.rows, "batch_size": options.batch_size, "phases": found}
    print(results.save("data_scale_quick" if options.quick else "data_scale", content))


if __name__ == "__main__":
    main()
