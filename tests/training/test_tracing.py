"""Functions of batches are traced at most once, and not at all for a few."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfshop._keras import tf
from tfshop.compression.importance import weight_scores
from tfshop.compression.moments import input_moments
from tfshop.compression.score_slopes import output_slopes
from tfshop.data import Splits
from tfshop.training.inputs import model_specs
from tfshop.training.tracing import FEW_BATCHES, for_batches


@pytest.mark.parametrize(("num_batches", "runs"), [(FEW_BATCHES, 3), (FEW_BATCHES + 1, 1)])
def test_a_graph_is_traced_once_for_batches_of_all_sizes(
    num_batches: int, runs: int, trained_mlp: Any, clicks: Splits
) -> None:
    """Of 300, 300 and 100 rows."""
    ran: list[Any] = []

    def summed(inputs: Any, labels: Any) -> Any:
        ran.append(labels)
        return tf.reduce_sum(inputs["ids"]), tf.reduce_sum(labels)

    batches = clicks.train.take(700).with_batch_size(300).batches(inputs=model_specs(trained_mlp))
    sums = for_batches(summed, trained_mlp, num_batches, tf.TensorSpec((None, 1), tf.float32))
    ids, labels = np.sum([sums(*batch) for batch in batches], axis=0)
    assert len(ran) == runs
    assert ids == clicks.train.inputs["ids"][:700].sum() and labels == clicks.train.labels[:700].sum()


@pytest.mark.parametrize(
    "measured",
    [
        lambda model, data: input_moments(model, ["dense_1"], data.train, rows=1500)["dense_1"].second,
        lambda model, data: output_slopes(model, ["dense_1"], data.train, rows=1500)["dense_1"],
        lambda model, data: weight_scores(model, ["dense_1"], "taylor", data)["dense_1"],
    ],
    ids=["moments", "slopes", "gradients"],
)
def test_graphs_measure_what_the_operators_do(
    measured: Any, trained_mlp: Any, clicks: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfshop.training.tracing.FEW_BATCHES", 0)
    traced = measured(trained_mlp, clicks)
    monkeypatch.setattr("tfshop.training.tracing.FEW_BATCHES", 100)
    np.testing.assert_allclose(measured(trained_mlp, clicks), traced, rtol=1e-4, atol=1e-6 * np.abs(traced).max())
