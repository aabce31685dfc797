"""What is damaged on disk is encoded again, and nothing half made is left there."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import numpy as np
import pytest

from data.shards.conftest import BY_DAY, ROWS, SCHEMA, assert_same, log_frame, make_small, written
from tfshop.data import mapped, prepare
from tfshop.errors import DataError


def flip(path: Path, position: int | bytes) -> None:
    """Change a bit: of the byte at a position, or behind some text."""
    content = bytearray(path.read_bytes())
    content[content.index(position) + len(position) if isinstance(position, bytes) else position] ^= 1
    path.write_bytes(content)


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory):
    """A log, the folder that it was prepared in, and the rows that memory would hold; tests leave them as they are."""
    folder = tmp_path_factory.mktemp("undamaged")
    path, cache = written(log_frame(), folder), folder / "cache"
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        prepare(path, SCHEMA, split=BY_DAY, cache_dir=cache)
        return path, cache, prepare(path, SCHEMA, split=BY_DAY)


@pytest.mark.parametrize(
    ("file", "position", "shards"),
    [
        ("train_ids.npy", -1, 1),
        ("train_numeric.npy", 200, 1),
        ("test_vector_image.npy", -5, 1),
        ("train_ids.npy", 3, 4),  # the header: nothing in the file can be trusted; the fifth shard is not in it
        ("shard-00001.json", 20, 1),
        ("train_labels.npy", -1, 0),
        ("train_groups.npy", -8, 0),
        ("parts.npy", -1, 0),
        ("vocabulary_0.arrow", b"nor", 0),
        ("statistics.json", b'"mean": 1.', 0),
    ],
)
def test_a_damaged_byte_is_found_and_only_its_shard_encoded_again(undamaged, cache, encoded, file, position, shards):
    path, prepared, in_memory = undamaged
    shutil.copytree(prepared, cache)
    flip(next(cache.glob(f"prepared-*/{file}")), position)
    again = prepare(path, SCHEMA, split=BY_DAY, cache_dir=cache)
    assert len(encoded) == shards
    assert_same(again, in_memory)


def test_a_file_cut_short_is_encoded_again(undamaged, cache, encoded):
    path, prepared, in_memory = undamaged
    shutil.copytree(prepared, cache)
    file = next(cache.glob("prepared-*/validation_ids.npy"))
    file.write_bytes(file.read_bytes()[:-400])
    assert_same(prepare(path, SCHEMA, split=BY_DAY, cache_dir=cache), in_memory)
    assert len(encoded) >= 1


def test_refused_data_leave_nothing_behind(frame, cache):
    frame.loc[ROWS - 1, "price"] = np.inf
    with pytest.raises(DataError, match=f"inf in row {ROWS - 1}"):
        prepare(frame, SCHEMA, split=BY_DAY, cache_dir=cache)
    assert not list(cache.glob("prepared-*/"))


def test_a_full_disk_is_an_error_before_the_first_row(path, cache, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(mapped.os, "posix_fallocate", full)
    with pytest.raises(DataError, match=r"No space left on device.*cache_dir"):
        prepare(path, SCHEMA, split=BY_DAY, cache_dir=cache)
    assert not list(cache.glob("prepared-*/"))


def test_encoded_rows_cannot_be_written_to(path, cache):
    """A change would be found as damage, and the rows encoded again."""
    data = prepare(path, SCHEMA, split=BY_DAY, cache_dir=cache)
    for values in (data.train.inputs["ids"], data.train.labels):
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 1
