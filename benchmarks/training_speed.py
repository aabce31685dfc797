"""What a training step costs as the table grows, in samples a second and in memory.

Run: `python benchmarks/training_speed.py` (about eight minutes on two cores, 4 GB; `--quick` takes two).

One network, mlp 400-400-400 with dimension 16 over 26 id fields, is trained on random ids that follow Zipf's law
(exponent 1.1), batch 4,096, as `tfshop.train` does it. The table has 100 thousand, 1 million and 10 million rows.
Beside it stands the same network as it is usually built: an Embedding a field, 1 million rows together, and
`keras.optimizers.Adam`, once in steps of their own, as Keras runs them, and once eight in a call, as tfshop does.
Variants are timed in turns; a time is that of the steps after the first eight, in which the step is traced, and the
median over the rounds is reported. Processor time a step, of all cores together, stands beside it: it suffers less
from what else runs on the machine.

Memory is measured in a process of its own for each size: the peak over a training of two epochs with validation and the
best weights kept, less what the process held before the network was built (TensorFlow, the rows).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import results
from memory import peak_bytes
from usual_network import usual_network

import tfshop as ts
from tfshop._console import progress, say
from tfshop._keras import keras
from tfshop.data.split import Split, Splits
from tfshop.data.vocabulary import Vocabulary
from tfshop.training.inputs import model_specs
from tfshop.training.settings import STEPS_PER_EXECUTION

NUM_FIELDS, DIMENSION, BATCH, EXPONENT = 26, 16, 4096, 1.1
SIZES = (100_000, 1_000_000, 10_000_000)
USUAL_ROWS = 1_000_000
VALIDATION_ROWS = 8192
USUAL = {1: "usual network, Adam", STEPS_PER_EXECUTION: f"the same, {STEPS_PER_EXECUTION} steps a call"}

Runner = Callable[[Any], Any]


def main() -> None:
    """Time all variants in turns, measure memory, print both tables, write the JSON."""
    options = _options()
    if options.memory_of:
        print(json.dumps(memory_of(options)))
        return
    rates, processor = _timed(options)
    ours = {rows: float(np.median(rates[_name(rows)])) for rows in SIZES}
    flat = ours[SIZES[-1]] / ours[SIZES[0]]
    faster = {name: ours[USUAL_ROWS] / float(np.median(rates[name])) for name in USUAL.values()}
    _show_rates(rates, processor, options.hidden)
    say(f"10 million rows against 100 thousand: {flat:.2f}")
    say("1 million rows against " + "; ".join(f"{name}: {ratio:.2f} times" for name, ratio in faster.items()))
    memory = [_memory_apart(rows, checkpoints, options) for rows in SIZES for checkpoints in (False, True)]
    _show_memory(memory)
    content = {
        "settings": vars(options),
        "samples_per_second": rates,
        "processor_ms": processor,
        "flat": flat,
        "faster": faster,
        "memory": memory,
    }
    tower = options.hidden.replace(",", "_")
    say(f"written: {results.save('training_speed_quick' if options.quick else f'training_speed_{tower}', content)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=56, help="steps of a round; the first eight are not timed")
    parser.add_argument("--rounds", type=int, default=7, help="times that every variant has its turn")
    parser.add_argument(
        "--hidden", default="400,400,400", help="widths of the tower: the smaller, the more tables matter"
    )
    parser.add_argument("--quick", action="store_true", help="two short rounds: the numbers then say little")
    parser.add_argument("--memory-of", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--checkpoints", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.steps, options.rounds = 24, 2
    return options


def _name(rows: int) -> str:
    return f"tfshop, {rows:,} rows"


def fitted_schema(num_rows: int) -> ts.Schema:
    """26 id columns whose tables have so many rows together."""
    names = [f"id_{number}" for number in range(NUM_FIELDS)]
    known = num_rows // NUM_FIELDS - 1
    vocabulary = Vocabulary(pa.array(np.arange(known).astype(str)), np.ones(known, np.int64))
    schema = ts.Schema([ts.IdFeature(name) for name in names], target="clicked")
    return schema.replace(vocabularies=dict.fromkeys(names, vocabulary))


def zipf_rows(schema: ts.Schema, num_rows: int, name: str) -> Split:
    """Random ids, the i-th most frequent in proportion to i^-1.1; labels that a network can learn nothing from."""
    generator = np.random.default_rng(len(name))
    ranks = np.arange(1, min(schema.tables.values()))
    cumulated = np.cumsum(ranks**-EXPONENT)
    drawn = np.searchsorted(cumulated, generator.random((num_rows, NUM_FIELDS)) * cumulated[-1])
    labels = (generator.random(num_rows) < 0.2).astype(np.float32)
    return Split(name, {"ids": drawn.astype(np.int32) + 1}, labels, None, BATCH, schema)


def rows_and_network(num_rows: int, steps: int, hidden: str) -> tuple[Splits, Callable[[], Any]]:
    """Rows for so many steps, and what builds the network over them."""
    schema = fitted_schema(num_rows)
    small = zipf_rows(schema, VALIDATION_ROWS, "validation")
    data = Splits(zipf_rows(schema, steps * BATCH, "train"), small, replace(small, name="test"), schema)
    widths = tuple(int(width) for width in hidden.split(","))
    return data, lambda: ts.build_model("mlp", schema, dimension=DIMENSION, hidden=widths)


class Stopwatch(keras.callbacks.Callback):
    """Wall and processor time between the first steps of an epoch and its last."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Forget the epoch before."""
        self._seen: list[tuple[float, float, int]] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Note when a call has ended, after the first eight steps."""
        if batch + 1 >= STEPS_PER_EXECUTION:
            self._seen.append((time.perf_counter(), time.process_time(), batch))

    @property
    def rate(self) -> float:
        """Samples a second."""
        (start, _, first), (stop, _, last) = self._seen[0], self._seen[-1]
        return (last - first) * BATCH / (stop - start)

    @property
    def processor_ms(self) -> float:
        """Milliseconds of all cores for a step."""
        (_, start, first), (_, stop, last) = self._seen[0], self._seen[-1]
        return (stop - start) / (last - first) * 1000


def _timed(options: argparse.Namespace) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Samples a second and processor milliseconds a step of every variant, a number a round."""
    runners = dict(_runners(options.steps, options.hidden))
    rates: dict[str, list[float]] = {name: [] for name in runners}
    processor: dict[str, list[float]] = {name: [] for name in runners}
    with progress("training in turns", total=options.rounds * len(runners)) as advance:
        for number in range(options.rounds):
            order = list(runners) if number % 2 == 0 else list(runners)[::-1]
            for name in order:
                watch = Stopwatch()
                runners[name](watch)
                rates[name].append(watch.rate)
                processor[name].append(watch.processor_ms)
                advance(note=f"{name}: {watch.rate:,.0f}/s")
    return rates, processor


def _runners(steps: int, hidden: str) -> Any:
    """Name to what trains for an epoch with a stopwatch."""
    for num_rows in SIZES:
        data, network = rows_and_network(num_rows, steps, hidden)
        model = network()
        yield _name(num_rows), partial(_train, model, data)
        if num_rows == USUAL_ROWS:
            for steps_a_call, name in USUAL.items():
                usual = usual_network(model, data.schema)
                usual.compile(keras.optimizers.Adam(), "binary_crossentropy", steps_per_execution=steps_a_call)
                yield name, partial(_fit, usual, data.train.batches(shuffle=True, inputs=model_specs(usual)))


def _train(model: Any, data: Splits, watch: Stopwatch) -> None:
    ts.train(model, data, epochs=1, callbacks=[watch])


def _fit(model: Any, batches: Any, watch: Stopwatch) -> None:
    model.fit(batches, epochs=1, callbacks=[watch], verbose=0)


def memory_of(options: argparse.Namespace) -> dict[str, Any]:
    """Bytes at the peak of a training, above those before it; for a process of its own."""
    num_rows, checkpoints = options.memory_of, options.checkpoints
    data, network = rows_and_network(num_rows, options.steps, options.hidden)
    keras.layers.Dense(1)(np.zeros((1, 1), np.float32))  # TensorFlow's own threads and pools
    before = peak_bytes()
    started = time.perf_counter()
    with TemporaryDirectory() as folder:
        model = network()
        ts.train(model, data, epochs=2, patience=9, checkpoint_dir=Path(folder) if checkpoints else None)
    table = 4 * num_rows // NUM_FIELDS * NUM_FIELDS * DIMENSION
    return {
        "rows": num_rows,
        "checkpoints": checkpoints,
        "table_bytes": table,
        "table_and_moments_bytes": 3 * table,
        "peak_bytes": peak_bytes() - before,
        "seconds": time.perf_counter() - started,
    }


def _memory_apart(num_rows: int, checkpoints: bool, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--memory-of", str(num_rows), "--steps", str(options.steps)]
    command += ["--hidden", options.hidden]
    ended = subprocess.run(  # noqa: S603
        [*command, *(["--checkpoints"] if checkpoints else [])], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def _show_rates(rates: dict[str, list[float]], processor: dict[str, list[float]], hidden: str) -> None:
    rows, smallest = [], float(np.median(rates[_name(SIZES[0])]))
    for name, values in rates.items():
        median = float(np.median(values))
        spread = f"{min(values):,.0f} to {max(values):,.0f}"
        rows.append((name, f"{median:,.0f}", spread, f"{median / smallest:.2f}", f"{np.median(processor[name]):.0f}"))
    headings = ("variant", "samples/s, median", "range", "of that at 100,000 rows", "processor ms a step")
    results.show(
        f"Training, tower {hidden}, batch {BATCH:,}, {NUM_FIELDS} fields, dimension {DIMENSION}", headings, rows
    )


def _show_memory(found: list[dict[str, Any]]) -> None:
    def mib(count: int) -> str:
        return f"{count / 2**20:,.0f}"

    rows = [
        (
            f"{row['rows']:,}",
            "yes" if row["checkpoints"] else "no",
            mib(row["table_bytes"]),
            mib(row["table_and_moments_bytes"]),
            mib(row["peak_bytes"]),
        )
        for row in found
    ]
    headings = ("table rows", "checkpoints", "table, MiB", "with its moments, MiB", "peak above the start, MiB")
    results.show("Memory of a training of two epochs", headings, rows)


if __name__ == "__main__":
    main()
