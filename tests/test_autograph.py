"""AutoGraph leaves our code alone, and rewrites that of others as ever."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from helpers import keras_scores

from tfshop import _keras
from tfshop._keras import keras, tf
from tfshop.compression import QAT, Candidate
from tfshop.data import Splits
from tfshop.export import Export
from tfshop.layers import OutputRange, Reshaped
from tfshop.runtime import Scorer
from tfshop.training import train

CONFIG = importlib.import_module("tensorflow.python.autograph.core.config")
CONVERSION = importlib.import_module("tensorflow.python.autograph.impl.conversion")


@keras.utils.register_keras_serializable(package="tests")
class Bounded(keras.layers.Layer):
    """A way through Python that numbers decide: AutoGraph makes a branch of the graph of it."""

    def call(self, x: Any) -> Any:
        """At most 2."""
        if tf.reduce_max(x) > 2.0:  # noqa: SIM108  (an expression would be another converter's)
            y = tf.minimum(x, 2.0)
        else:
            y = x
        return y


def test_our_code_runs_as_it_is_and_that_of_others_is_rewritten() -> None:
    assert CONVERSION.is_allowlisted(Reshaped((2,)).call)
    assert not CONVERSION.is_allowlisted(Bounded().call)
    inside = tf.function(OutputRange(Bounded(), 0.0, 255 / 64))
    np.testing.assert_allclose(inside(tf.constant([[0.5, 3.0]])), [[0.5, 2.0]])
    with pytest.raises(tf.errors.OperatorNotAllowedInGraphError):
        tf.function(Bounded().call, autograph=False)(tf.ones((1, 1)))


def test_a_layer_whose_way_numbers_decide_is_trained_rounded_and_exported(brief: Splits) -> None:
    ids = keras.Input((3,), dtype="int32", name="ids")
    table = keras.layers.Embedding(max(brief.schema.tables.values()) + 1, 4)(ids)
    hidden = keras.layers.Dense(8, name="first")(keras.layers.Flatten()(table))
    hidden = keras.layers.Dense(8, "relu", name="second")(Bounded(name="bounded")(hidden))
    model = keras.Model(ids, keras.layers.Dense(1, "sigmoid", name="probability")(hidden))
    train(model, brief, epochs=1, learning_rate=5e-3)
    rounded = QAT(epochs=1).apply(Candidate(model, brief.schema), brief, seed=0).model
    assert any("bounded" in layer.name for layer in rounded.layers)
    scorer = Scorer(Export("int8", calibration_rows=256).to_bytes(rounded, brief))
    rows = {"ids": brief.test.inputs["ids"][:200]}
    np.testing.assert_allclose(scorer(rows), keras_scores(rounded, rows), atol=0.02)


def test_without_the_rules_of_tensorflow_nothing_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    before = CONFIG.CONVERSION_RULES
    monkeypatch.delattr(CONFIG, "DoNotConvert")
    _keras._leave_to_python("tfshop")
    assert before == CONFIG.CONVERSION_RULES
