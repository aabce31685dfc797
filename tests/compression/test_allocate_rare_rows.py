"""Where most rows are rare, uneven bits may fold them into one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from helpers import keras_scores

from tfshop.compression import AllocateTables, Candidate, EncodeTables
from tfshop.compression._table_parts import parts_of
from tfshop.data import IdFeature, RandomSplit, Schema, Splits, prepare
from tfshop.errors import PlanError
from tfshop.export import Export
from tfshop.models import build_model
from tfshop.runtime import Scorer
from tfshop.tables import Codec, Float32, Grouped, Int1, Int4, Int8, RareRows, RowCounts, expected_counts
from tfshop.training import train
from tfshop.training.scoring import mean_auc

TELLING = 50  # ids that decide; the others say nothing


def log(rare: int) -> Splits:
    """Half of the lookups go to ids that decide, half to `rare` others."""
    random = np.random.default_rng(0)
    item, other = random.integers(0, TELLING, 6000), random.integers(TELLING, TELLING + rare, 6000)
    seen = np.where(random.random(6000) < 0.5, item, other)
    logits = np.where(seen < TELLING, np.linspace(-3, 3, TELLING)[np.minimum(seen, TELLING - 1)], 0)
    clicked = random.random(6000) < 1 / (1 + np.exp(-logits))
    table = pa.table({"item": seen.astype(str), "clicked": clicked.astype(np.int8)})
    return prepare(table, Schema([IdFeature("item")], target="clicked"), split=RandomSplit(seed=0), batch_size=128)


@pytest.fixture(scope="module")
def mostly_rare() -> tuple[Any, Splits]:
    """Five thousand ids that are seen once or never."""
    data = log(5000)
    model = build_model("mlp", data.schema, dimension=8, hidden=(16,))
    train(model, data, epochs=4, learning_rate=5e-3)
    return model, data


def allocated(model: Any, data: Splits, **settings: Any) -> Candidate:
    return AllocateTables(**{"rows": 1000, "measured": 1, "lookup_bytes": 0, **settings}).apply(
        Candidate(model, data.schema), data, 0
    )


def fields(candidate: Candidate) -> list[dict[str, Any]]:
    return candidate.history[-1].notes["allocation"]


def test_rare_rows_are_folded_where_most_rows_are_rare(mostly_rare: tuple[Any, Splits]) -> None:
    """Fewer bytes than one bit a number takes, and a better order."""
    model, data = mostly_rare
    made = allocated(model, data, max_bytes=0.02)
    one_bit = EncodeTables(Int1("field")).apply(Candidate(model, data.schema), data, 0)
    assert fields(made)[0]["codec"].startswith("RareRows")
    assert fields(made)[0]["bytes"] < one_bit.history[-1].notes["bytes"][1]
    assert mean_auc(made.model, data.test) > mean_auc(one_bit.model, data.test) + 0.005
    file = Scorer(Export("float32").to_bytes(made.model, data), schema=data.schema)
    np.testing.assert_allclose(file.score_split(data.test), keras_scores(made.model, data.test.inputs), atol=1e-5)


def test_codecs_that_were_asked_for_are_the_only_ones(mostly_rare: tuple[Any, Splits]) -> None:
    assert not any(
        "RareRows" in row["codec"] for row in fields(allocated(*mostly_rare, max_bytes=0.05, codecs=("Int1",)))
    )


@pytest.mark.parametrize(("rare", "folds"), [(499, False), (501, True)])
def test_folding_is_tried_where_more_than_half_of_the_rows_are_rare(rare: int, folds: bool) -> None:
    counts = np.full(1000, 5.0)
    counts[:rare] = 4.0
    often = np.full(400, 100.0)  # later, which teaches a row nothing
    tables = {"table": RowCounts(counts[:600], counts[:600]), "second": RowCounts(counts[600:], often)}
    menu = AllocateTables(max_bytes=0.05)._menu(tables)
    assert ("RareRows" in {codec.name for codec in menu}) == folds


def fewest(model: Any, data: Splits, codec: Codec) -> dict[str, int]:
    """Bytes of one codec for the only field: as `check` takes rows to be seen, all alike, and as they are."""
    parts = parts_of(model, data.schema)
    counted = expected_counts(model, ("table",), data.train, data.validation)
    counts = {"least": parts.least_seen(), "alike": {}, "counted": counted}
    return {name: replace(parts, counts=own, known={}).num_bytes([codec]) for name, own in counts.items()}


@pytest.mark.parametrize(
    "codec", [Grouped((Int8("field"), Int1("field")), (0.5,)), RareRows(Int4("field"), min_count=5)], ids=repr
)
def test_budgets_are_refused_by_what_counts_may_be_and_then_by_what_they_are(
    codec: Codec, mostly_rare: tuple[Any, Splits], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of bytes that depend on counts, the least that they can be is known before; the rest before any estimate."""
    model, data = mostly_rare
    known = fewest(model, data, codec)
    assert known["least"] < known["counted"] - 1 < known["alike"] - 1
    with pytest.raises(PlanError, match=rf"the tables need {known['least']:,} bytes.*Fix: max_bytes={known['least']},"):
        AllocateTables(max_bytes=known["least"] - 1, codecs=(codec,), lookup_bytes=0).check(model, data.schema)
    AllocateTables(max_bytes=known["least"], codecs=(codec,), lookup_bytes=0).check(model, data.schema)
    made = allocated(model, data, max_bytes=known["counted"], codecs=(codec,))
    assert made.history[-1].notes["bytes"][1] == known["counted"]
    monkeypatch.setattr("tfshop.compression.allocate_tables.Measures", None)
    with pytest.raises(PlanError, match=rf"the tables need {known['counted']:,} bytes.*Fix: max_bytes"):
        allocated(model, data, max_bytes=known["counted"] - 1, codecs=(codec,))


def test_rows_that_may_fold_are_a_choice_until_they_are_counted(mostly_rare: tuple[Any, Splits]) -> None:
    model, data = mostly_rare
    codec = RareRows(Float32(), min_count=5)
    AllocateTables(max_bytes=0.5, codecs=(codec,)).check(model, data.schema)
    assert fields(allocated(model, data, max_bytes=0.5, codecs=(codec,)))[0]["codec"] == repr(codec)
    with pytest.raises(PlanError, match=r"can make no table of 'mlp' smaller.*Fix:"):
        allocated(model, data, max_bytes=0.5, codecs=(RareRows(Float32(), min_count=1),))
