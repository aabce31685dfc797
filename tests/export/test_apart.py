"""A conversion whose crash does not take the caller along."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from helpers import keras_scores

from tfshop._keras import keras
from tfshop.errors import ExportError
from tfshop.export import convert
from tfshop.runtime import Scorer

ROWS = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)


def network(*between: Any) -> Any:
    """Two Dense layers, and what stands between them; its input has the name of an argument of NumPy's."""
    keras.utils.set_random_seed(1)
    numbers = keras.Input((6,), name="file")
    hidden = keras.layers.Dense(8, name="first")(numbers)
    for layer in between:
        hidden = layer(hidden)
    return keras.Model(numbers, keras.layers.Dense(1, activation="sigmoid", name="probability")(hidden), name="net")


def batches() -> Iterator[dict[str, np.ndarray]]:
    return iter([{"file": ROWS[:150]}, {"file": ROWS[150:]}])


def test_the_ranges_are_those_of_the_batches() -> None:
    model = network(keras.layers.ReLU())
    scores = Scorer(convert(model, "int16x8", batches))({"file": ROWS})
    gaps = np.abs(scores - keras_scores(model, {"file": ROWS}))
    assert gaps.max() < 0.01
    narrow = Scorer(convert(model, "int16x8", lambda: iter([{"file": ROWS[:150] / 100}])))({"file": ROWS})
    assert np.abs(narrow - keras_scores(model, {"file": ROWS})).max() > 0.05, "the batches are not read"


def test_an_abort_is_an_error_like_any_other() -> None:
    model = network(keras.layers.LayerNormalization(name="normalized"))
    with pytest.raises(ExportError, match=r"'net' does not convert to int16x8.*LiteRT aborted.*Fix: Export\('int8'\)"):
        convert(model, "int16x8", batches)


def test_without_batches_it_is_refused() -> None:
    with pytest.raises(ExportError, match="int16x8 needs batches"):
        convert(network(), "int16x8")
