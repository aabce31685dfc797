"""Networks that learn what ids have in common which come later."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from helpers import same_weights
from sklearn.metrics import log_loss

from tfshop.compression import Candidate, Distill
from tfshop.data import IdFeature, Schema, Splits, TimeSplit, prepare
from tfshop.data.opening import read_table
from tfshop.errors import PlanError
from tfshop.models import build_model
from tfshop.training import predict, train

ROWS = 8000


@pytest.fixture(scope="module")
def data() -> Splits:
    """Synthetic: clicks follow item and shop. Items seen once are never clicked; later a third are new."""
    random = np.random.default_rng(1)
    day = np.arange(ROWS) * 10 // ROWS
    new, once = (day >= 6) & (random.random(ROWS) < 1 / 3), (day < 6) & (random.random(ROWS) < 0.03)
    item, shop = random.integers(0, 40, ROWS), random.integers(0, 10, ROWS)
    logit = np.linspace(-1, 1, 40)[random.permutation(40)][item] + np.linspace(-2, 2, 10)[shop]
    clicked = ~once & (random.random(ROWS) < 1 / (1 + np.exp(-logit)))
    named = np.where(once, 1000 + np.arange(ROWS), np.where(new, 10_000 + item, item))
    columns = {"item": named.astype(str), "shop": shop.astype(str), "day": day, "clicked": clicked}
    schema = Schema([IdFeature("item", min_count=5), IdFeature("shop")], target="clicked")
    return prepare(read_table(pa.table(columns)), schema, split=TimeSplit("day", validation=6, test=8), batch_size=64)


def network(data: Splits) -> Any:
    return build_model("mlp", data.schema, dimension=4, hidden=(16,), seed=0)


def loss_of_new(model: Any, data: Splits) -> float:
    new = data.test.inputs["ids"][:, 0] == 0
    return float(log_loss(data.test.labels.reshape(-1)[new], predict(model, data.test)[new]))


@pytest.fixture(scope="module")
def usual(data: Splits) -> Any:
    model = network(data)
    train(model, data, epochs=4, learning_rate=1e-2, patience=4)
    return model


def test_new_items_are_scored_better_by_who_has_seen_unknown_ones(data: Splits, usual: Any) -> None:
    model = network(data)
    train(model, data, epochs=4, learning_rate=1e-2, patience=4, unknown_ids=True)
    assert loss_of_new(model, data) < loss_of_new(usual, data) - 0.05


def test_a_student_learns_them_from_a_teacher_that_knows_the_items(data: Splits, usual: Any) -> None:
    taught = {
        asked: Distill({"dimension": 4, "hidden": (16,)}, epochs=4, learning_rate=1e-2, unknown_ids=asked)
        .apply(Candidate(usual, data.schema), data, 0)
        .model
        for asked in (False, True)
    }
    assert loss_of_new(taught[True], data) < loss_of_new(taught[False], data) - 0.05
    assert not same_weights(taught[True], taught[False])


def test_the_same_seed_forgets_the_same(data: Splits) -> None:
    one, again = network(data), network(data)
    for model in (one, again):
        train(model, data, epochs=1, seed=2, unknown_ids=True)
    assert same_weights(one, again)


def test_what_is_no_answer_is_refused() -> None:
    with pytest.raises(PlanError, match=r"unknown_ids is 0\.1\. Expected True or False"):
        Distill(unknown_ids=0.1)
