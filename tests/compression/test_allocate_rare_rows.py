"""Where most rows are rare, uneven bits may fold them into one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from helpers import keras_scores

from tfshop.compression import AllocateTables, Candidate, EncodeTables
from tfshop.data import IdFeature, RandomSplit, Schema, Splits, prepare
from tfshop.export import Export
from tfshop.models import build_model
from tfshop.runtime import Scorer
from tfshop.tables import Int1
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
    return AllocateTables(rows=1000, measured=1, **settings).apply(Candidate(model, data.schema), data, 0)


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
    menu = AllocateTables(max_bytes=0.05)._menu({"table": counts[:600], "second": counts[600:]})
    assert ("RareRows" in {codec.name for codec in menu}) == folds
