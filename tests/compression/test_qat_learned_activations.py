"""QAT of Dense layers whose activation is a layer with weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfshop._keras import keras
from tfshop.compression import QAT, Candidate
from tfshop.data import Splits
from tfshop.export import Export
from tfshop.runtime import Scorer
from tfshop.training import predict, train

layers = keras.layers


@pytest.fixture(scope="module")
def model(brief: Splits) -> Any:
    keras.utils.set_random_seed(0)
    ids = keras.Input((3,), dtype="int32", name="ids")
    read = layers.Flatten()(layers.Embedding(max(brief.schema.tables.values()) + 1, 4)(ids))
    learned = layers.Dense(16, activation=layers.PReLU(), name="learned")(read)
    plain = layers.Dense(8, activation="relu", name="plain")(learned)
    built = keras.Model(ids, layers.Dense(1, activation="sigmoid", name="click")(plain))
    train(built, brief, epochs=1, learning_rate=5e-3)
    return built


def test_such_a_layer_trains_in_float_and_is_listed(model: Any, brief: Splits) -> None:
    found = QAT(epochs=1).apply(Candidate(model, brief.schema), brief, 0)
    alone = {row["layer"]: row["reason"] for row in found.history[-1].notes["left_alone"]}
    assert "its activation has weights" in alone["learned"] and "plain" not in alone
    assert len(found.model.get_layer("learned").get_weights()) == 3
    content = Export("int8", calibration_rows=512).to_bytes(found.model, brief)
    file = Scorer(content, schema=brief.schema)
    scores = file.score_split(brief.validation).reshape(-1)
    assert np.abs(scores - predict(found.model, brief.validation)).max() < 0.02
    assert not np.array_equal(
        found.model.get_layer("learned").get_weights()[0], model.get_layer("learned").get_weights()[0]
    )
