"""The parts that networks share."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import first_rows, keras_scores

from tfshop._keras import keras
from tfshop.data import Splits
from tfshop.models import build_model
from tfshop.models.blocks import OUTLIER_LIMIT
from tfshop.models.lookup import table_starts

TINY = {"dimension": 4, "hidden": (8,)}


def test_tables_lie_one_after_the_other_in_the_merged_one(clicks: Splits) -> None:
    sizes = clicks.schema.tables
    assert table_starts(clicks.schema) == {"id_0": 0, "id_1": sizes["id_0"], "id_2": sizes["id_0"] + sizes["id_1"]}


def test_a_sequence_shares_the_rows_of_its_feature(clicks: Splits) -> None:
    """One table, one lookup: an id in the history reads the row that the same id reads as a feature."""
    model = build_model("mlp", clicks.schema, **TINY)
    tables = [layer for layer in model.layers if isinstance(layer, keras.layers.Embedding)]
    assert [table.input_dim for table in tables] == [sum(clicks.schema.tables.values())]
    rows = keras.Model(model.inputs, model.get_layer("table_rows").output)
    inputs = {
        "ids": np.int32([[7, 1, 1]]),
        "numeric": np.zeros((1, 2), np.float32),
        "hist_id_0": np.int32([[7, 0, 7, 2, 0]]),
    }
    second, third = (table_starts(clicks.schema)[name] for name in ("id_1", "id_2"))
    assert rows(inputs).numpy().tolist() == [[7, second + 1, third + 1, 7, 0, 7, 2, 0]]


def test_numerics_are_scaled_by_the_statistics_of_the_training_rows(clicks: Splits) -> None:
    """After log1p they have mean 0 and deviation 1 in training; holes sit at the mean and have a flag each."""
    model = build_model("mlp", clicks.schema, **TINY)
    scaled = keras.Model(model.inputs, model.get_layer("numeric_transform").output)
    found = scaled.predict(dict(clicks.train.inputs), verbose=0)
    missing = np.isnan(clicks.train.inputs["numeric"])
    assert found.shape[1] == 4 and missing.any(axis=0).all()
    np.testing.assert_array_equal(found[:, 2:], missing.astype(np.float32))
    for column in range(2):
        seen = found[~missing[:, column], column]
        assert abs(seen.mean()) < 0.02 and abs(seen.std() - 1) < 0.05
        assert (found[missing[:, column], column] == 0).all()


def test_outliers_of_a_scaled_column_are_cut(clicks: Splits) -> None:
    model = build_model("mlp", clicks.schema, **TINY)
    scaled = keras.Model(model.inputs, model.get_layer("numeric_transform").output)
    rows = {**first_rows(clicks.train.inputs, 2), "numeric": np.float32([[1e30, 0.5], [0.5, -1e30]])}
    found = scaled(rows).numpy()
    assert found[0, 0] == OUTLIER_LIMIT and found[1, 1] == -OUTLIER_LIMIT


def test_a_raw_column_is_left_as_it_is_and_its_holes_get_the_mean(kinds: dict[str, Splits]) -> None:
    """`number_1` is declared without a transform."""
    data = kinds["numerics"]
    model = build_model("mlp", data.schema, **TINY)
    scaled = keras.Model(model.inputs, model.get_layer("numeric_transform").output)
    found = scaled(np.float32([[1.0, 1234.5], [1.0, np.nan]])).numpy()[:, 1]
    np.testing.assert_allclose(found, [1234.5, data.schema.statistics["number_1"].mean], rtol=1e-6)


def test_the_first_layer_adds_what_fields_and_numerics_say(clicks: Splits) -> None:
    """The two kernels are those of one Dense layer over both side by side."""
    model = build_model("mlp", clicks.schema, **TINY)
    rows = first_rows(clicks.train.inputs, 20)
    names = ("flat_fields", "numeric_transform", "dense_0_relu")
    fields, numerics, hidden = keras.Model(model.inputs, [model.get_layer(name).output for name in names])(rows)
    (kernel, bias), (numeric_kernel,) = (model.get_layer(n).get_weights() for n in ("dense_0", "dense_0_numeric"))
    joined = np.concatenate([fields, numerics], axis=1) @ np.concatenate([kernel, numeric_kernel]) + bias
    np.testing.assert_allclose(hidden, np.maximum(joined, 0), atol=1e-5)


def test_deepfm_adds_its_three_terms_in_the_logit(kinds: dict[str, Splits]) -> None:
    """Zeroing the tower's head leaves first-order weights and pairwise products."""
    data = kinds["ids"]
    model = build_model("deepfm", data.schema, **TINY)
    head = model.get_layer("head_logit")
    head.set_weights([np.zeros_like(weight) for weight in head.get_weights()])
    rows = first_rows(data.train.inputs, 5)
    positions = rows["ids"] + np.array([table_starts(data.schema)[name] for name in data.schema.tables])
    vectors = model.get_layer("table").get_weights()[0][positions]
    pairs = sum((vectors[:, i] * vectors[:, j]).sum(axis=1) for i, j in ((0, 1), (0, 2), (1, 2)))
    logits = model.get_layer("first_order").get_weights()[0][positions, 0].sum(axis=1) + pairs
    np.testing.assert_allclose(keras_scores(model, rows), 1 / (1 + np.exp(-logits)), rtol=1e-5)


@pytest.mark.parametrize("name", ["logistic_regression", "fm", "deepfm"])
def test_the_linear_part_of_numbers_and_vectors_starts_at_zero(name: str, kinds: dict[str, Splits]) -> None:
    """Random weights of about 1 cost logistic regression 0.09 of AUC after three epochs."""
    model = build_model(name, kinds["every kind"].schema)
    for layer in ("first_order_numeric", "first_order_vector_image_projection"):
        assert not model.get_layer(layer).kernel.numpy().any()
    assert model.get_layer("first_order").embeddings.numpy().any()
