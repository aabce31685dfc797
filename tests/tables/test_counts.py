"""Rows count as often as they are looked up for something."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from networks import needs, spread

from tfshop._keras import keras, tf
from tfshop.data import Splits
from tfshop.models import build_model
from tfshop.tables import expected_counts, row_counts
from tfshop.tables.counts import _add


def often(ids: np.ndarray, size: int) -> np.ndarray:
    return np.bincount(ids.ravel(), minlength=size)


def test_ids_count_and_padding_does_not(trained_mlp: Any, clicks: Splits) -> None:
    (counts,) = row_counts(trained_mlp, ("table",), clicks.train).values()
    inputs, tables = clicks.train.inputs, clicks.schema.tables
    history = inputs["hist_id_0"]
    assert (history == 0).mean() > 0.1
    starts = np.cumsum([0, *tables.values()])
    wanted = [often(inputs["ids"][:, n], size) for n, size in enumerate(tables.values())]
    wanted[0] = wanted[0] + often(history[history != 0], tables["id_0"])
    for start, own in zip(starts[:-1], wanted, strict=True):
        assert np.array_equal(counts[start : start + len(own)], own)


@pytest.mark.parametrize("name", ["mean_pooling", "din", "bst", "two_tower"])
def test_padding_of_any_network_with_histories_counts_for_little(name: str, kinds: dict[str, Splits]) -> None:
    """In an attention over nothing but padding, weights are those of nothing, and the row does move the score."""
    data = kinds["every kind"]
    model = build_model(name, data.schema, **needs(name).settings)
    spread(model)
    tables = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Embedding)]
    counts = row_counts(model, tables, data.train)
    history, ids = data.train.inputs["hist_id_0"], data.train.inputs["ids"]
    padding, empty = (history == 0).sum(), 5 * (history == 0).all(axis=1).sum()
    table = next(own for own in counts.values() if len(own) >= data.schema.tables["id_0"])
    assert table[0] <= (ids[:, 0] == 0).sum() + empty < padding


def test_a_history_that_is_read_without_a_mask_counts_with_its_padding(kinds: dict[str, Splits]) -> None:
    data = kinds["every kind"]
    schema = data.schema
    history = keras.Input((5,), dtype="int32", name="hist_id_0")
    rows = keras.layers.Embedding(schema.tables["id_0"], 4, name="own")(history)
    averaged = keras.layers.GlobalAveragePooling1D()(rows)
    model = keras.Model(history, keras.layers.Dense(1, "sigmoid", name="probability")(averaged))
    (counts,) = row_counts(model, ("own",), data.train).values()
    assert np.array_equal(counts, often(data.train.inputs["hist_id_0"], schema.tables["id_0"]))


def softmax(rows: Any) -> Any:
    return keras.layers.Dense(2, "softmax", name="probability")(rows)


def chance_and_its_rest(rows: Any) -> list[Any]:
    chance = keras.layers.Dense(1, "sigmoid", name="probability")(rows)
    return [chance, keras.layers.Lambda(lambda p: 1 - p, name="rest")(chance)]


def without_slopes(rows: Any) -> Any:
    still = keras.layers.Lambda(tf.stop_gradient)(rows)
    return keras.layers.Dense(1, "sigmoid", name="probability")(still)


@pytest.mark.parametrize("head", [softmax, chance_and_its_rest, without_slopes])
def test_slopes_that_cancel_or_are_none_hide_no_lookup(head: Any, dense_clicks: Splits) -> None:
    ids = keras.Input((3,), dtype="int32", name="ids")
    rows = keras.layers.Flatten()(keras.layers.Embedding(110, 4, name="own")(ids))
    model = keras.Model(ids, head(rows))
    (counts,) = row_counts(model, ("own",), dense_clicks.train).values()
    assert np.array_equal(counts, often(dense_clicks.train.inputs["ids"], 110))


def test_units_that_are_off_now_and_then_change_no_count(clicks: Splits) -> None:
    """All units of a layer may be off for a row; its ids were looked up all the same."""
    model = build_model("mlp", clicks.schema, dimension=2, hidden=(2,))
    first = int(clicks.schema.tables["id_0"])
    (counts,) = row_counts(model, ("table",), clicks.train).values()
    wanted = often(clicks.train.inputs["ids"][:, 1], clicks.schema.tables["id_1"])
    assert np.abs(counts[first : first + len(wanted)] - wanted).sum() <= 0.02 * wanted.sum()


def test_rows_that_are_looked_up_far_more_often_later_are_expected_as_then(clicks: Splits) -> None:
    """Half of the later ids are unknown; a row that is seen a little more often is expected as before."""
    schema = clicks.schema
    ids = keras.Input((len(schema.tables),), dtype="int32", name="ids")
    rows = keras.layers.Flatten()(keras.layers.Embedding(sum(schema.tables.values()), 4, name="own")(ids))
    model = keras.Model(ids, keras.layers.Dense(1, "sigmoid", name="probability")(rows))
    later = clicks.validation.take(400)
    unknown = later.inputs["ids"].copy()
    unknown[::2] = 0
    unknown[1::4] = 40
    later = replace(later, inputs={**later.inputs, "ids": unknown})
    before = row_counts(model, ("own",), clicks.train)["own"]
    counts = expected_counts(model, ("own",), clicks.train, later)["own"]
    found = counts.expected
    assert np.array_equal(counts.trained, before)
    scaled = often(unknown, len(before)) * clicks.train.num_rows / 400
    assert found[0] == pytest.approx(scaled[0]) and found[0] > 2 * before[0]
    grown = (scaled > 2 * before) & (often(unknown, len(before)) >= 8)
    assert np.array_equal(found[~grown], before[~grown]) and (~grown).sum() > 100
    assert np.allclose(found[grown], scaled[grown]) and before[grown].max() > 0


def test_batches_of_all_sizes_go_through_one_graph(dense_clicks: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []

    def noted(ids: Any) -> Any:
        runs.append(1)
        return ids

    ids = keras.Input((3,), dtype="int32", name="ids")
    table = keras.layers.Embedding(110, 4, name="own")
    model = keras.Model(ids, softmax(keras.layers.Flatten()(table(keras.layers.Lambda(noted)(ids)))))
    train, before = dense_clicks.train.take(1000), len(runs)
    monkeypatch.setattr("tfshop.tables.counts.BATCH", 90)
    (counts,) = row_counts(model, ("own",), train).values()
    assert len(runs) - before == 2  # a batch to see what moves the scores, and a graph for twelve
    assert np.array_equal(counts, often(train.inputs["ids"], 110))


def test_counting_a_batch_takes_no_memory_of_the_size_of_the_table() -> None:
    totals = {"own": np.zeros(4_000_000)}
    ids = {"own": [tf.constant([[3, 3_999_999], [3, 5]])]}
    tracemalloc.start()
    _add(totals, ids, {})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert totals["own"][[3, 5, 3_999_999]].tolist() == [2, 1, 1] and totals["own"].sum() == 4
    assert peak < 1_000_000
