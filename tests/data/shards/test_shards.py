"""Encoded rows in files are those that memory would hold."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.shards.conftest import BY_DAY, ROWS, SCHEMA, assert_same
from tfshop.data import (
    GroupSplit,
    IdFeature,
    RandomSplit,
    Schema,
    SequenceFeature,
    VectorFeature,
    mapped,
    preparation,
    prepare,
    read_table,
)


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
