"""How long a file takes: the interpreter's own time, warm, at several batch sizes."""

from __future__ import annotations

import gc
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop.errors import ScoringError
from tfshop.runtime.inputs import FileInput, prepare_all
from tfshop.runtime.latency_types import Latency, LatencyRow
from tfshop.runtime.runner import Arrays, Runner
from tfshop.runtime.scorer import Scorer
from tfshop.runtime.sources import Source
from tfshop.runtime.waiting import progress_if_long

BATCH_SIZES = (1, 16, 128, 512)
_ROUNDS = 10  # turns that each file gets at a batch size
_POOL = 16  # different batches that a file is timed on, so that rows of a table do not stay in the cache
_WARM_UP_RUNS = 20


def benchmark(
    source: Source,
    *,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    num_threads: int = 1,
    seconds: float = 0.5,
    min_runs: int = 50,
    inputs: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Latency:
    """Time one file: p50 and p99 of a call, in microseconds, at each batch size.

    Only the interpreter's `invoke` is timed, after a warm-up. Each call gets other rows.

    Args:
        source: Whatever `Scorer` takes.
        batch_sizes: Rows of one call.
        num_threads: Threads the kernels may use.
        seconds: Time spent at each batch size.
        min_runs: Calls timed at each batch size, however long they take.
        inputs: Real rows by input name, to draw from. Without them floats are zero and ids are drawn from all rows
            of their tables as far as the graph shows where a table ends, else zero: real ids repeat more, and are
            served from the cache more often.
        seed: Of the draw.

    Raises:
        ScoringError: For batch sizes that make no sense or that the file does not take; rows that do not fit it.
        ArtifactError: For a file that does not load.

    Example:
        >>> benchmark("tflite/demo/int8", inputs=data.test.inputs).at(128).p50_us  # doctest: +SKIP
        163.2
    """
    times = compare_latency(
        {"file": source},
        batch_sizes=batch_sizes,
        num_threads=num_threads,
        seconds=seconds,
        min_runs=min_runs,
        inputs=inputs,
        seed=seed,
    )
    return times["file"]


def compare_latency(
    sources: Mapping[str, Source],
    *,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    num_threads: int = 1,
    seconds: float = 0.5,
    min_runs: int = 50,
    inputs: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> dict[str, Latency]:
    """Time several files in turns, A B A B, so that their ratios hold on a busy machine.

    Args:
        sources: Name -> whatever `Scorer` takes.
        batch_sizes: As in `benchmark`.
        num_threads: As in `benchmark`.
        seconds: Time spent on each file at each batch size.
        min_runs: As in `benchmark`.
        inputs: As in `benchmark`; each file takes the names it has from them.
        seed: As in `benchmark`.

    Returns:
        A `Latency` a name.

    Raises:
        ScoringError: As `benchmark`.
        ArtifactError: As `benchmark`.
    """
    scorers = {name: Scorer(source) for name, source in sources.items()}
    _check(scorers, batch_sizes, seconds, min_runs, num_threads)
    rows: dict[str, list[LatencyRow]] = {name: [] for name in sources}
    turns = len(batch_sizes) * len(scorers) * _ROUNDS
    with progress_if_long("timing", turns) as advance:
        for batch_size in batch_sizes:
            timers = {
                name: _Timer(scorer, inputs, batch_size, num_threads=num_threads, seed=seed)
                for name, scorer in scorers.items()
            }
            _take_turns(timers, seconds / _ROUNDS, -(-min_runs // _ROUNDS), advance)
            for name, timer in timers.items():
                rows[name].append(timer.row())
    return {name: Latency(cpu_name(), num_threads, tuple(found)) for name, found in rows.items()}


def cpu_name() -> str:
    """The processor's name, as it calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.lower().startswith(("model name", "hardware", "cpu model")):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or "unknown processor"


class _Timer:
    """One file at one batch size: rows to score, and the times so far."""

    def __init__(
        self, scorer: Scorer, inputs: Mapping[str, Any] | None, batch_size: int, *, num_threads: int, seed: int
    ) -> None:
        self._batch_size = batch_size
        self._nanoseconds: list[int] = []
        self._runner: Runner = scorer.new_runner(num_threads)
        self._batches = _draw_batches(scorer.inputs, inputs, batch_size, seed)
        self._next = 0
        for _ in range(_WARM_UP_RUNS):
            self._call()

    def turn(self, seconds: float, min_runs: int) -> None:
        """Time calls until the turn is over; a short warm-up puts the file's own weights back in the cache."""
        self._call()
        end = time.perf_counter() + seconds
        runs = 0
        while runs < min_runs or time.perf_counter() < end:
            self._nanoseconds.append(self._call())
            runs += 1

    def row(self) -> LatencyRow:
        """Percentiles of all turns."""
        p50, p99 = np.percentile(self._nanoseconds, [50, 99]) / 1000.0
        return LatencyRow(self._batch_size, float(p50), float(p99), len(self._nanoseconds))

    def _call(self) -> int:
        """Nanoseconds of one call, the copy of its inputs not counted."""
        self._runner.set_inputs(self._batches[self._next % len(self._batches)])
        self._next += 1
        began = time.perf_counter_ns()
        self._runner.invoke()
        return time.perf_counter_ns() - began


def _take_turns(timers: Mapping[str, _Timer], seconds: float, min_runs: int, advance: Callable[[], None]) -> None:
    with _no_garbage_collection():
        for _ in range(_ROUNDS):
            for timer in timers.values():
                timer.turn(seconds, min_runs)
                advance()


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Keep Python's collector from running inside a timed call."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _draw_batches(
    specs: Mapping[str, FileInput], inputs: Mapping[str, Any] | None, batch_size: int, seed: int
) -> list[Arrays]:
    """Batches of prepared rows, drawn from real ones or made up."""
    generator = np.random.default_rng(seed)
    if inputs is None:
        made_up = {name: _made_up(spec, _POOL * batch_size, generator) for name, spec in specs.items()}
        arrays, num_rows = prepare_all(specs, made_up)
    else:
        arrays, num_rows = prepare_all(specs, {name: inputs[name] for name in specs if name in inputs})
    if num_rows == 0:
        raise ScoringError(
            "inputs to time with, no rows. Expected at least one. Fix: inputs=data.test.inputs, or leave inputs out."
        )
    drawn = generator.integers(0, num_rows, (_POOL, batch_size))
    return [{name: array[positions] for name, array in arrays.items()} for positions in drawn]


def _made_up(spec: FileInput, num_rows: int, generator: np.random.Generator) -> NDArray[Any]:
    """Zeros, or random ids where their limits are known."""
    values = np.zeros((num_rows, *(1 if size == -1 else size for size in spec.shape)), spec.dtype)
    columns = values.reshape(num_rows, -1)
    if spec.is_id and len(spec.limits) == columns.shape[1]:
        for column, limit in enumerate(spec.limits):
            columns[:, column] = generator.integers(0, limit.rows or 1, num_rows)
    return values


def _check(
    scorers: Mapping[str, Scorer], batch_sizes: Sequence[int], seconds: float, min_runs: int, num_threads: int
) -> None:
    """Refuse a benchmark that cannot be run, before the first second is spent."""
    if not scorers or not batch_sizes or min(batch_sizes) < 1 or len(set(batch_sizes)) != len(batch_sizes):
        raise ScoringError(
            f"benchmark, batch sizes {list(batch_sizes)} of {len(scorers)} files. Expected at least one file, and "
            "batch sizes of 1 or more, each once. Fix: batch_sizes=(1, 16, 128, 512)."
        )
    if seconds <= 0 or min_runs < 1 or num_threads < 1:
        raise ScoringError(
            f"benchmark, seconds {seconds}, min_runs {min_runs}, num_threads {num_threads}. Expected seconds above 0, "
            "and at least 1 of the others. Fix: seconds=0.5, min_runs=50, num_threads=1."
        )
    for name, scorer in scorers.items():
        if scorer.fixed_batch is not None and set(batch_sizes) != {scorer.fixed_batch}:
            raise ScoringError(
                f"{name!r} takes batches of {scorer.fixed_batch} only; batch sizes {list(batch_sizes)} were asked. "
                f"Expected ({scorer.fixed_batch},). Fix: convert the model with a free batch axis."
            )
