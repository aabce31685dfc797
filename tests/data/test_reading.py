from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tfshop.data import mapped, reading
from tfshop.data.reading import Rows


@pytest.fixture
def on_disk(tmp_path):
    """A table sorted by time: column 0 is the row's number, column 1 its double; and a label, the number again."""

    def make(num_rows: int) -> list[np.ndarray]:
        numbers = np.arange(num_rows, dtype=np.int32)
        arrays = [np.stack([numbers, 2 * numbers], axis=1), numbers.astype(np.float32)]
        written = []
        for i, array in enumerate(arrays):
            np.save(tmp_path / f"{num_rows}_{i}.npy", array)
            written.append(np.load(tmp_path / f"{num_rows}_{i}.npy", mmap_mode="r"))
        return written

    return make


def row_numbers(batches) -> np.ndarray:
    batches = list(batches)
    for pairs, labels in batches:
        np.testing.assert_array_equal(pairs[:, 0], labels)
        np.testing.assert_array_equal(pairs[:, 1], 2 * pairs[:, 0])
    return np.concatenate([labels for _, labels in batches]).astype(int)


@pytest.mark.parametrize("num_rows", [1, 999, 1000, 1001, 4096, 5003])
@pytest.mark.parametrize("batch_size", [1, 64, 1000])
def test_each_row_comes_once_an_epoch_whatever_the_sizes(on_disk, monkeypatch, num_rows, batch_size):
    monkeypatch.setattr(reading, "BUFFER_BYTES", 1000 * 12)
    monkeypatch.setattr(reading, "BLOCKS_PER_BUFFER", 30)
    rows = Rows(on_disk(num_rows), batch_size)
    for batches in (rows.shuffled(3, 0), rows.in_order()):
        assert sorted(row_numbers(batches)) == list(range(num_rows))
    sizes = [len(labels) for _, labels in rows.shuffled(3, 0)]
    assert all(size == batch_size for size in sizes[:-1]) and len(sizes) == -(-num_rows // batch_size)


def test_every_batch_of_a_log_sorted_by_time_mixes_all_times(on_disk, monkeypatch):
    """A buffer holds a tenth of the rows. Each batch of 500 has rows of every tenth of the time, about 50 each."""
    monkeypatch.setattr(reading, "BUFFER_BYTES", 20_000 * 12)
    rows = Rows(on_disk(200_000), 500)
    order = row_numbers(rows.shuffled(0, 0))
    assert abs(np.corrcoef(order, np.arange(len(order)))[0, 1]) < 0.02
    tenths = np.stack([np.bincount(batch // 20_000, minlength=10) for batch in order.reshape(-1, 500)])
    assert tenths.min() >= 10
    assert tenths.mean(axis=1) == pytest.approx(50)
    neighbours = np.abs(np.diff(order))
    assert (neighbours < 100).mean() < 0.02, "neighbours in time do not follow each other"


def test_the_order_depends_on_the_seed_and_the_epoch_only(on_disk, monkeypatch):
    monkeypatch.setattr(reading, "BUFFER_BYTES", 1000 * 12)
    arrays = on_disk(5000)
    one = row_numbers(Rows(arrays, 100).shuffled(7, 2))
    np.testing.assert_array_equal(one, row_numbers(Rows(arrays, 100).shuffled(7, 2)))
    for seed, epoch in ((7, 3), (8, 2)):
        assert not np.array_equal(one, row_numbers(Rows(arrays, 100).shuffled(seed, epoch)))


@pytest.mark.parametrize("skip", [1, 9, 10, 11, 37, 50, 60])
def test_skipped_batches_are_not_read(on_disk, monkeypatch, skip):
    monkeypatch.setattr(reading, "BUFFER_BYTES", 1000 * 12)
    rows = Rows(on_disk(5003), 100)
    whole = row_numbers(rows.shuffled(7, 2))
    loaded, load = [], Rows._load

    def counted(self, blocks, number):
        loaded.append(number)
        return load(self, blocks, number)

    monkeypatch.setattr(Rows, "_load", counted)
    rest = list(rows.shuffled(7, 2, skip))
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in rest] or [[]]), whole[skip * 100 :])
    assert loaded == list(range(skip // 10, 6))
    in_order = [labels for _, labels in rows.in_order(skip)]
    np.testing.assert_array_equal(np.concatenate(in_order or [[]]), np.arange(5003)[skip * 100 :])


def test_rows_that_fit_the_buffer_come_as_they_do_in_memory(on_disk):
    arrays = on_disk(5003)
    in_memory = Rows([np.array(array) for array in arrays], 100)
    expected = row_numbers(in_memory.shuffled(1, 0, 2))
    np.testing.assert_array_equal(row_numbers(Rows(arrays, 100).shuffled(1, 0, 2)), expected)


def test_reading_that_ends_early_leaves_no_thread(on_disk, monkeypatch):
    monkeypatch.setattr(reading, "BUFFER_BYTES", 1000 * 12)
    import threading

    before = threading.active_count()
    batches = Rows(on_disk(5003), 100).shuffled(0, 0)
    next(batches)
    batches.close()
    assert threading.active_count() == before


def test_pages_that_were_read_are_given_back(tmp_path):
    """64 MiB are read through a map; afterwards they do not count as memory of the process."""

    def mapped_mib() -> float:
        status = Path("/proc/self/status").read_text()
        return int(status.split("RssFile:")[1].split()[0]) / 1024

    try:
        before = mapped_mib()
    except (OSError, IndexError):
        pytest.skip("no /proc here")
    np.save(tmp_path / "a.npy", np.ones((1 << 24,), np.float32))
    array = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert array.sum() == 1 << 24
    assert mapped_mib() - before > 50
    mapped.release(array[5:10])
    assert mapped_mib() - before < 10
    assert array.sum() == 1 << 24
