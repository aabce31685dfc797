"""An id a row without an axis of its own, as towers of retrieval read it: nothing may be folded into what follows."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tfshop._keras import keras
from tfshop.compression import Candidate, EncodeTables
from tfshop.data import IdFeature, RandomSplit, Schema, Splits, prepare
from tfshop.evaluation.coded_tables import require_codes
from tfshop.export import Export
from tfshop.runtime import Scorer, read_graph
from tfshop.tables import Int4, Int8, LowRankTable, RowwiseLookup


@pytest.fixture(scope="module")
def log() -> Splits:
    random = np.random.default_rng(0)
    table = pa.table({"item": random.integers(0, 60, 800).astype(str), "clicked": random.integers(0, 2, 800)})
    return prepare(table, Schema([IdFeature("item")], target="clicked"), split=RandomSplit(seed=0), batch_size=64)


@pytest.fixture(scope="module")
def tower(log: Splits) -> Any:
    ids = keras.Input((), dtype="int32", name="item")
    rows = keras.layers.Embedding(log.schema.tables["item"], 16, name="items")(ids)
    return keras.Model(ids, keras.layers.Dense(1, "sigmoid", name="probability")(rows))


@pytest.fixture(scope="module")
def coded(tower: Any, log: Splits) -> Callable[[Any], Any]:
    """The network with a coded table."""
    return cache(lambda codec: EncodeTables(codec, fold=False).apply(Candidate(tower, log.schema), log, seed=0).model)


@pytest.mark.parametrize("mode", ["float32", "dynamic", "int8"])
@pytest.mark.parametrize(
    "codec", [Int8("field"), Int4("table"), Int4(), LowRankTable(4, Int8("table")), RowwiseLookup(4)], ids=repr
)
def test_steps_are_in_the_file_as_they_are(codec: Any, mode: str, coded: Callable[[Any], Any], log: Splits) -> None:
    made = coded(codec)
    content = Export(mode, calibration_rows=64).to_bytes(made, log)
    require_codes(read_graph(content), made)
    ids = {"item": np.arange(20, dtype=np.int32)}
    np.testing.assert_allclose(Scorer(content)(ids).ravel(), made(ids["item"]).numpy().ravel(), atol=5e-3)
