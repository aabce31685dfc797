"""Fine-tuning on the scores of the network that came in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import keras_scores

from tfshop._keras import keras
from tfshop.compression import QAT, Candidate, Cluster, DropFeatures, LowRank, Pass, Prune, PruneUnits
from tfshop.data import Splits
from tfshop.export import Export
from tfshop.runtime import Scorer
from tfshop.training import predict

STEPS: dict[str, Pass] = {
    "Prune": Prune(0.5),
    "Prune with masks": Prune(0.5, scope="global"),
    "Cluster": Cluster(16),
    "LowRank": LowRank(rank=4),
    "PruneUnits": PruneUnits(0.5),
    "DropFeatures": DropFeatures(("id_2",)),
    "QAT": QAT(),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_pass_stays_nearer_to_the_network_that_came_in_than_labels_alone_would_lead_it(
    name: str, candidate: Callable[[str], Candidate], clicks: Splits
) -> None:
    """Labels turned over, and steps long enough to follow them, show which of the two is followed."""
    start = candidate("mlp")
    turned = replace(clicks, train=replace(clicks.train, labels=1 - clicks.train.labels))
    before = predict(start.model, clicks.validation)
    taught, alone = (
        np.abs(predict(step.apply(start, turned, 0).model, clicks.validation) - before)
        for step in (replace(STEPS[name], distill=distill, learning_rate=2e-2) for distill in (True, False))
    )
    assert taught.mean() < 0.25 * alone.mean()


@pytest.mark.parametrize(
    ("shape", "step"), [((), Prune(0.5)), ((1, 1), LowRank(rank=2))], ids=["one axis", "three axes"]
)
def test_a_score_of_any_shape_is_learned_from(shape: tuple[int, ...], step: Pass, dense_clicks: Splits) -> None:
    brief = replace(dense_clicks, train=dense_clicks.train.take(512))
    ids = keras.Input((3,), dtype="int32", name="ids")
    hidden = keras.layers.Flatten()(keras.layers.Embedding(110, 4, name="table")(ids))
    hidden = keras.layers.Dense(16, activation="relu", name="hidden")(hidden)
    score: Any = keras.layers.Dense(1, activation="sigmoid", name="score")(hidden)
    model = keras.Model(ids, keras.layers.Reshape(shape, name="probability")(score))
    step.check(model, brief.schema)
    after = step.apply(Candidate(model, brief.schema), brief, seed=0)
    assert 0 < after.history[-1].notes["fit"]["epochs"][-1]["loss"] < 1
    assert after.model.output_shape == (None, *shape)
    rows = {"ids": dense_clicks.test.inputs["ids"][:50]}
    scores = Scorer(Export("float32").to_bytes(after.model, brief))(rows)
    assert scores.shape == (50,)
    np.testing.assert_allclose(scores, keras_scores(after.model, rows), atol=1e-5)
