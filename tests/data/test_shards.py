from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfshop.data import (
    GroupSplit,
    IdFeature,
    NumericFeature,
    RandomSplit,
    Schema,
    SequenceFeature,
    TimeSplit,
    VectorFeature,
    encoding,
    mapped,
    preparation,
    prepare,
    read_table,
)
from tfshop.errors import DataError

ROWS, SHARD = 2300, 500  # the last of five shards is smaller
BY_DAY = TimeSplit("day", validation=8, test=9)
SCHEMA = Schema(
    [
        IdFeature("shop"),
        IdFeature("item", min_count=2),
        NumericFeature("price", transform="standard"),
        NumericFeature("stock"),
        SequenceFeature("viewed", table="item", max_length=3),
        VectorFeature("image", width=2),
    ],
    target="bought",
    group="shop",
    time="day",
)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(encoding, "ROWS_PER_SHARD", SHARD)
    monkeypatch.setattr(encoding, "ROWS_PER_BATCH", 128)


@pytest.fixture
def frame() -> pd.DataFrame:
    draw = np.random.default_rng(0)
    price = draw.lognormal(size=ROWS)
    price[draw.random(ROWS) < 0.1] = np.nan
    return pd.DataFrame(
        {
            "shop": draw.choice(["north", "south", "east", None], ROWS),
            "item": draw.zipf(1.5, ROWS) % 300,
            "price": price,
            "stock": draw.integers(0, 50, ROWS),
            "viewed": [list(draw.integers(0, 40, length)) for length in draw.integers(0, 6, ROWS)],
            "image": list(draw.normal(size=(ROWS, 2)).astype(np.float32)),
            "day": np.sort(draw.integers(0, 10, ROWS)),
            "bought": draw.integers(0, 2, ROWS),
        }
    )


@pytest.fixture
def path(frame, tmp_path) -> Path:
    path = tmp_path / "log.parquet"
    pq.write_table(pa.Table.from_pandas(frame), path, row_group_size=200)
    return path


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def encoded(monkeypatch) -> list[int]:
    """Fills with the shards that are encoded from here on."""
    shards: list[int] = []
    finish = preparation.ShardFolder.finish

    def counted(self, shard, *arguments):
        shards.append(shard)
        finish(self, shard, *arguments)

    monkeypatch.setattr(preparation.ShardFolder, "finish", counted)
    return shards


def assert_same(one, other):
    assert one.schema == other.schema
    for name in ("train", "validation", "test"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert list(mine.inputs) == list(theirs.inputs)
        for key, values in theirs.inputs.items():
            np.testing.assert_array_equal(mine.inputs[key], values, err_msg=f"{name} {key}")
            assert mine.inputs[key].dtype == values.dtype
        np.testing.assert_array_equal(mine.labels, theirs.labels)
        assert mine.labels.dtype == theirs.labels.dtype
        assert (mine.groups is None) == (theirs.groups is None)
        if theirs.groups is not None:
            np.testing.assert_array_equal(mine.groups, theirs.groups)


def receipts(cache: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(cache.glob("prepared-*/shard-*.json"))}


@pytest.mark.parametrize("split", [BY_DAY, GroupSplit("day", 0.2, 0.2), RandomSplit(seed=1)], ids=repr)
def test_files_hold_the_arrays_that_memory_would(path, cache, split, encoded):
    """Every kind of feature, labels, groups, vocabularies and statistics; each shard once."""
    on_disk = prepare(path, SCHEMA, split=split, cache_dir=cache)
    assert_same(on_disk, prepare(path, SCHEMA, split=split))
    assert sorted(encoded) == [0, 1, 2, 3, 4]
    assert all(mapped.map_of(values) is not None for values in on_disk.train.inputs.values())
    assert not list(cache.glob("prepared-*/scratch"))


def test_frames_text_and_several_files_are_encoded_alike(frame, tmp_path, cache):
    plain = frame.drop(columns=["image", "viewed"])
    schema = SCHEMA.replace(features=SCHEMA.features[:4])
    expected = prepare(plain, schema, split=BY_DAY)
    plain.to_csv(tmp_path / "log.csv", index=False)
    for i, start in enumerate((0, 700, 701)):
        piece = plain.iloc[start : [700, 701, ROWS][i]]
        pq.write_table(pa.Table.from_pandas(piece, preserve_index=False), tmp_path / f"part-{i}.parquet")
    for source in (plain, tmp_path / "log.csv", tmp_path / "part-*.parquet"):
        assert_same(prepare(source, schema, split=BY_DAY, cache_dir=cache), expected)
        assert_same(prepare(source, schema, split=BY_DAY, cache_dir=cache), expected)


def test_batches_come_in_the_order_they_have_in_memory(path, cache):
    on_disk, in_memory = prepare(path, SCHEMA, split=BY_DAY, cache_dir=cache), prepare(path, SCHEMA, split=BY_DAY)
    for shuffle in (True, False):
        pairs = [data.train.with_batch_size(300).batches(shuffle=shuffle, seed=4) for data in (on_disk, in_memory)]
        readers = (batches.as_numpy_iterator() for batches in pairs)
        for (mine, labels), (theirs, their_labels) in zip(*readers, strict=True):
            np.testing.assert_array_equal(labels, their_labels)
            for name, values in theirs.items():
                np.testing.assert_array_equal(mine[name], values)
    for arguments in ((7,), (50, 3)):
        mine, theirs = on_disk.train.take(*arguments), in_memory.train.take(*arguments)
        np.testing.assert_array_equal(mine.inputs["ids"], theirs.inputs["ids"])
        np.testing.assert_array_equal(mine.labels, theirs.labels)


def test_nothing_is_read_again_when_nothing_changed(path, cache, encoded, monkeypatch):
    first = prepare(path, SCHEMA, split=BY_DAY, cache_dir=cache)
    written, encoded[:] = receipts(cache), []
    for work in ("fit_vocabularies", "encode_into", "fit_statistics", "parts_and_labels", "encode_groups"):
        monkeypatch.setattr(preparation, work, None)  # calling one would raise
    again = prepare(path, SCHEMA, split=BY_DAY, batch_size=77, cache_dir=cache)
    assert encoded == [] and receipts(cache) == written and len(written) == 5
    assert again.train.batch_size == 77
    assert_same(again, first)


def test_changed_data_are_encoded_anew_and_the_old_rows_removed(frame, path, cache, encoded):
    prepare(path, SCHEMA, split=BY_DAY, cache_dir=cache)
    before, encoded[:] = set(cache.glob("prepared-*/")), []
    frame.loc[5, "price"] = 123.0
    pq.write_table(pa.Table.from_pandas(frame), path, row_group_size=200)
    changed = prepare(path, SCHEMA, split=BY_DAY, cache_dir=cache)
    assert sorted(encoded) == [0, 1, 2, 3, 4]
    assert changed.train.inputs["numeric"][5, 0] == 123.0
    assert len(list(cache.glob("prepared-*/"))) == 1 and not before & set(cache.glob("prepared-*/"))


@pytest.mark.parametrize("large", [False, True])
def test_a_change_that_leaves_size_and_time_alone_is_seen(frame, path, cache, encoded, monkeypatch, large):
    """Also where only samples of a large file are hashed: its last bytes are among them."""
    monkeypatch.setattr("tfshop.data.sources._READ_WHOLE", 0 if large else 1 << 26)
    monkeypatch.setattr("tfshop.data.sources._SAMPLE_BYTES", 64)
    plain = SCHEMA.replace(features=SCHEMA.features[:2])
    csv = path.with_suffix(".csv")
    frame[["shop", "item", "day", "bought"]].to_csv(csv, index=False)
    prepare(csv, plain, split=BY_DAY, cache_dir=cache)
    found, content, encoded[:] = csv.stat(), csv.read_bytes().rstrip(), []
    flipped = b"1" if content.endswith(b"0") else b"0"
    csv.write_bytes(content[:-1] + flipped + b"\n")
    os.utime(csv, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert (csv.stat().st_size, csv.stat().st_mtime_ns) == (found.st_size, found.st_mtime_ns)
    prepare(csv, plain, split=BY_DAY, cache_dir=cache)
    assert sorted(encoded) == [0, 1, 2, 3, 4]


def test_another_schema_or_split_has_rows_of_its_own(path, cache, encoded):
    prepare(path, SCHEMA, split=BY_DAY, cache_dir=cache)
    wider = SCHEMA.replace(features=[*SCHEMA.features[:4], SequenceFeature("viewed", table="item", max_length=4)])
    assert prepare(path, wider, split=BY_DAY, cache_dir=cache).train.inputs["hist_viewed"].shape[1] == 4
    earlier = TimeSplit("day", validation=7, test=9)
    assert_same(prepare(path, SCHEMA, split=earlier, cache_dir=cache), prepare(path, SCHEMA, split=earlier))
    assert len(encoded) == 15
    prepare(path, SCHEMA, split=BY_DAY, cache_dir=cache)
    assert len(encoded) == 15, "the first is still there"


def test_what_a_schema_learned_before_does_not_count(path, cache, encoded):
    data = prepare(path, SCHEMA, split=BY_DAY, cache_dir=cache)
    encoded.clear()
    prepare(path, data.schema, split=BY_DAY, cache_dir=cache)
    assert encoded == []


CHILD = """
import os, signal, sys
from tests.data import test_shards as this
from tfshop.data import encoding, preparation, prepare
encoding.ROWS_PER_SHARD, encoding.ROWS_PER_BATCH = this.SHARD, 128
path, cache, die_after, gate = sys.argv[1:]
finish, shards = preparation.ShardFolder.finish, []
def watched(self, shard, *arguments):
    finish(self, shard, *arguments)
    shards.append(shard)
    if len(shards) == int(die_after):
        os.kill(os.getpid(), signal.SIGKILL)
    if gate and len(shards) == 1:
        print("first shard", flush=True)
        open(gate).close()  # a pipe: waits until somebody opens the other end
preparation.ShardFolder.finish = watched
data = prepare(path, this.SCHEMA, split=this.BY_DAY, cache_dir=cache)
print(len(shards), data.train.num_rows)
"""


def child(path: Path, cache: Path, die_after: int = 0, gate: str = "") -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), str(cache), str(die_after), gate],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_kill_costs_only_the_shards_that_were_not_finished(path, cache, encoded):
    process = child(path, cache, die_after=2)
    process.communicate(timeout=100)
    assert process.returncode == -signal.SIGKILL
    finished = receipts(cache)
    assert len(finished) == 2
    again = prepare(path, SCHEMA, split=BY_DAY, cache_dir=cache)
    assert len(encoded) == 3
    assert {name: when for name, when in receipts(cache).items() if name in finished} == finished
    assert_same(again, prepare(path, SCHEMA, split=BY_DAY))


def test_of_two_processes_at_once_the_second_waits_and_takes_what_the_first_made(path, cache, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    first = child(path, cache, gate=str(gate))
    assert first.stdout.readline() == "first shard\n"
    second = child(path, cache)
    said = second.stderr.readline()
    gate.open("w").close()
    answers = [process.communicate(timeout=100) for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0], answers
    assert said.startswith("waiting for another process")
    assert [out.split()[0] for out, _ in answers] == ["5", "0"]
    assert_same(prepare(path, SCHEMA, split=BY_DAY, cache_dir=cache), prepare(path, SCHEMA, split=BY_DAY))


def flip(path: Path, position: int | bytes) -> None:
    """Change a bit: of the byte at a position, or behind some text."""
    content = bytearray(path.read_bytes())
    content[content.index(position) + len(position) if isinstance(position, bytes) else position] ^= 1
    path.write_bytes(content)


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
def test_a_damaged_byte_is_found_and_only_its_shard_encoded_again(path, cache, encoded, file, position, shards):
    prepare(path, SCHEMA, split=BY_DAY, cache_dir=cache)
    encoded.clear()
    flip(next(cache.glob(f"prepared-*/{file}")), position)
    again = prepare(path, SCHEMA, split=BY_DAY, cache_dir=cache)
    assert len(encoded) == shards
    assert_same(again, prepare(path, SCHEMA, split=BY_DAY))


def test_a_file_cut_short_is_encoded_again(path, cache, encoded):
    prepare(path, SCHEMA, split=BY_DAY, cache_dir=cache)
    encoded.clear()
    file = next(cache.glob("prepared-*/validation_ids.npy"))
    file.write_bytes(file.read_bytes()[:-400])
    assert_same(prepare(path, SCHEMA, split=BY_DAY, cache_dir=cache), prepare(path, SCHEMA, split=BY_DAY))
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


def test_large_tables_go_to_the_users_cache_by_themselves(path, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TFSHOP_CACHE", str(tmp_path / "mine"))
    monkeypatch.setattr(preparation, "MOST_BYTES_IN_MEMORY", 10_000)
    data = prepare(path, SCHEMA, split=BY_DAY)
    assert mapped.map_of(data.train.inputs["ids"]) is not None
    assert list((tmp_path / "mine" / "prepared").glob("prepared-*/statistics.json"))
    assert "cache_dir" in capsys.readouterr().err
    monkeypatch.setattr(preparation, "MOST_BYTES_IN_MEMORY", preparation.encoded_bytes(read_table(path), SCHEMA))
    assert mapped.map_of(prepare(path, SCHEMA, split=BY_DAY).train.inputs["ids"]) is None


def test_features_may_have_names_that_no_file_can_have(frame, cache):
    odd = frame.rename(columns={"viewed": "../../viewed", "image": "im/age" + "x" * 300})
    features = [
        IdFeature("item"),
        SequenceFeature("../../viewed", table="item", max_length=3),
        VectorFeature("im/age" + "x" * 300, width=2),
    ]
    schema = Schema(features, target="bought")
    on_disk = prepare(odd, schema, split=BY_DAY, cache_dir=cache)
    assert_same(on_disk, prepare(odd, schema, split=BY_DAY))
    assert {path.parent.parent for path in cache.rglob("*.npy")} == {cache}


def test_a_request_names_all_that_the_rows_depend_on(path, cache):
    prepare(path, SCHEMA, split=BY_DAY, cache_dir=cache)
    request = json.loads(next(cache.glob("prepared-*/request.json")).read_text())["content"]
    assert request["source"]["files"][0]["path"] == str(path)
    assert set(request) == {"format", "source", "schema", "split", "rows_per_shard"}
