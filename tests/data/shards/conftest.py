"""A log of five small shards, and which of them are encoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfshop.data import (
    IdFeature,
    NumericFeature,
    Schema,
    SequenceFeature,
    TimeSplit,
    VectorFeature,
    encoding,
    preparation,
)

ROWS = 2300
SHARD = 500  # the last of five is smaller
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


def make_small(patch: pytest.MonkeyPatch) -> None:
    """Five shards of the rows below, read in several batches each."""
    patch.setattr(encoding, "ROWS_PER_SHARD", SHARD)
    patch.setattr(encoding, "ROWS_PER_BATCH", 128)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    make_small(monkeypatch)


@pytest.fixture
def frame() -> pd.DataFrame:
    return log_frame()


def log_frame() -> pd.DataFrame:
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
    return written(frame, tmp_path)


def written(frame: pd.DataFrame, folder: Path) -> Path:
    path = folder / "log.parquet"
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
