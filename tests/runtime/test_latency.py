"""Timing of files."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfshop._keras import keras
from tfshop.errors import ScoringError
from tfshop.runtime import Scorer, benchmark, compare_latency
from tfshop.runtime.latency import _draw_batches, cpu_name

from .conftest import SIZES, convert, make_rows


def dense_file(width: int) -> bytes:
    """A network of two wide layers."""
    numeric = keras.Input((64,), name="numeric")
    hidden = keras.layers.Dense(width, activation="relu")(keras.layers.Dense(width, activation="relu")(numeric))
    return convert(keras.Model(numeric, keras.layers.Dense(1)(hidden)))


def test_every_batch_size_gets_a_row_in_order(files: dict[str, bytes]) -> None:
    latency = benchmark(files["int8"], batch_sizes=(1, 16, 128), seconds=0.05, min_runs=20)
    assert [row.batch_size for row in latency.rows] == [1, 16, 128]
    assert all(row.runs >= 20 and 0 < row.p50_us <= row.p99_us for row in latency.rows)
    assert (latency.cpu, latency.num_threads) == (cpu_name(), 1)


def test_a_network_of_many_times_the_work_takes_longer() -> None:
    """64 times the multiplications: even a noisy machine sees 5 times the time."""
    times = compare_latency(
        {"small": dense_file(64), "large": dense_file(1024)}, batch_sizes=(64,), seconds=0.2, min_runs=20
    )
    assert list(times) == ["small", "large"]
    assert times["large"].rows[0].p50_us > 5 * times["small"].rows[0].p50_us


def test_a_file_beside_itself_takes_the_same_time() -> None:
    """In turns, the noise of the machine falls on both."""
    content = dense_file(256)
    times = compare_latency({"one": content, "same": content}, batch_sizes=(64,), seconds=0.5)
    assert times["same"].rows[0].p50_us == pytest.approx(times["one"].rows[0].p50_us, rel=0.5)


def test_real_rows_are_drawn_whole(files: dict[str, bytes]) -> None:
    rows = make_rows(10)
    drawn = _draw_batches(Scorer(files["float32"]).inputs, rows, batch_size=4, seed=0)
    known = {tuple(ids) + tuple(numeric) for ids, numeric in zip(rows["ids"], rows["numeric"], strict=True)}
    assert all(
        tuple(ids) + tuple(numeric) in known
        for batch in drawn
        for ids, numeric in zip(batch["ids"], batch["numeric"], strict=True)
    )
    assert len({batch["ids"].tobytes() for batch in drawn}) > 1


def test_made_up_ids_spread_over_their_own_tables(files: dict[str, bytes]) -> None:
    batches = _draw_batches(Scorer(files["float32"]).inputs, None, batch_size=100, seed=0)
    largest = np.max([batch["ids"].max(axis=0) for batch in batches], axis=0)
    assert largest.tolist() == [size - 1 for size in SIZES]


def test_the_same_seed_draws_the_same_rows(files: dict[str, bytes]) -> None:
    specs = Scorer(files["float32"]).inputs
    first, again, other = (_draw_batches(specs, None, 8, seed) for seed in (0, 0, 1))
    assert first[3]["ids"].tolist() == again[3]["ids"].tolist() != other[3]["ids"].tolist()


def test_a_file_of_one_batch_size_is_timed_at_that_one(fixed_batch_file: tuple[Any, bytes]) -> None:
    content = fixed_batch_file[1]
    assert benchmark(content, batch_sizes=(4,), seconds=0.02).at(4) is not None
    with pytest.raises(ScoringError, match="takes batches of 4 only"):
        benchmark(content, batch_sizes=(1, 4))


@pytest.mark.parametrize(
    "arguments",
    [
        {"batch_sizes": ()},
        {"batch_sizes": (0,)},
        {"batch_sizes": (8, 8)},
        {"seconds": 0.0},
        {"min_runs": 0},
        {"num_threads": 0},
        {"inputs": make_rows(0)},
        {"inputs": {"ids": make_rows(3)["ids"]}},
        {"inputs": {**make_rows(3), "ids": np.full((3, 3), 10**6)}},
    ],
)
def test_a_benchmark_that_cannot_be_run_is_refused(files: dict[str, bytes], arguments: dict[str, Any]) -> None:
    with pytest.raises(ScoringError, match=r"Expected.*Fix:"):
        benchmark(files["int8"], **arguments)
