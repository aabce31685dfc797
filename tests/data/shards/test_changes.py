"""Rows are encoded again where something they depend on has changed, and only there."""

from __future__ import annotations

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.shards.conftest import BY_DAY, SCHEMA, assert_same, receipts
from tfshop.data import SequenceFeature, TimeSplit, preparation, prepare


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


def test_a_request_names_all_that_the_rows_depend_on(path, cache):
    prepare(path, SCHEMA, split=BY_DAY, cache_dir=cache)
    request = json.loads(next(cache.glob("prepared-*/request.json")).read_text())["content"]
    assert request["source"]["files"][0]["path"] == str(path)
    assert set(request) == {"format", "source", "schema", "split", "rows_per_shard"}
