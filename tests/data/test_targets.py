"""Several targets: named in the schema, checked one by one, a column each in the labels."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from tfshop.data import IdFeature, RandomSplit, Schema, Splits, prepare, read_table
from tfshop.data.labels import read_labels
from tfshop.errors import DataError, SchemaError

TWO = ("clicked", "bought")


def schema(target) -> Schema:
    return Schema([IdFeature("item")], target=target)


def log(**changes) -> pa.Table:
    rows = np.arange(60)
    columns = {"item": (rows % 3).astype(str), "clicked": rows % 2 == 0, "bought": (rows % 4 == 0).astype(int)}
    return pa.table({**columns, **changes})


def test_one_target_stays_a_string_and_several_a_tuple():
    assert schema("bought").target == "bought" and schema("bought").targets == ("bought",)
    assert schema(["bought"]).target == "bought"
    assert schema(list(TWO)).target == schema(TWO).targets == TWO


def test_outputs_are_named_after_their_targets():
    assert schema("bought").outputs == {"bought": "probability"}
    assert schema(("a b", "Käufe")).outputs == {"a b": "probability_a_b", "Käufe": "probability_K_ufe"}


@pytest.mark.parametrize("target", ["bought", TWO])
def test_json_gives_the_targets_back(target):
    content = json.loads(schema(target).to_json())
    assert content["format"] == 1 and content["target"] == (target if target == "bought" else list(target))
    assert Schema.from_json(schema(target).to_json()) == schema(target)


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ((), r"the target is \(\)"),
        (("clicked", ""), "the target is ''"),
        (("clicked", 3), "the target is 3"),
        (("clicked", "clicked"), "outputs of one name"),
        (("a b", "a_b"), "outputs of one name"),
        (("clicked", "item"), "'item' is also a feature"),
    ],
)
def test_targets_that_cannot_be_told_apart_are_refused(target, found):
    with pytest.raises(SchemaError, match=rf"{found}.*Expected.*Fix:"):
        schema(target)


def test_no_target_may_be_the_group():
    with pytest.raises(SchemaError, match="'bought' is also the group"):
        Schema([IdFeature("item")], target=TWO, group="bought")


def test_labels_have_a_column_a_target(two_targets: Splits):
    labels = two_targets.validation.labels
    assert labels.shape == (600, 2) and labels.dtype == np.float32
    by_target = two_targets.validation.labels_by_target
    np.testing.assert_array_equal(by_target["bought"], labels[:, 1])
    assert (by_target["bought"] <= by_target["clicked"]).all()
    assert 0 < by_target["bought"].mean() < by_target["clicked"].mean()
    shares = two_targets.validation.positive_shares
    assert f"{shares['clicked']:.2%}, {shares['bought']:.2%} positive" in repr(two_targets.validation)


def test_a_single_target_keeps_its_flat_labels():
    data = prepare(log(), schema("bought"), split=RandomSplit(0.2, 0.2, seed=2))
    assert data.train.labels.shape == (data.train.num_rows,)
    _, labels = next(iter(data.train.batches()))
    assert labels.shape == (data.train.num_rows, 1)


def test_batches_give_labels_by_the_name_of_the_output(two_targets: Splits):
    split = two_targets.validation
    for names in (None, ["one", "other"]):
        inputs, labels = next(iter(split.batches(outputs=names)))
        assert list(labels) == (names or ["probability_clicked", "probability_bought"])
        for column, values in enumerate(labels.values()):
            np.testing.assert_array_equal(values.numpy(), split.labels[:128, column, None])
        np.testing.assert_array_equal(inputs["ids"].numpy(), split.inputs["ids"][:128])


def test_shuffled_labels_stay_with_their_rows(two_targets: Splits):
    """The sum over the labels of both targets, weighted by an id of the row, does not change."""
    split = two_targets.validation
    ids = split.inputs["ids"].astype(np.float64)
    total = np.zeros((2, 2))
    for inputs, labels in split.batches(shuffle=True, seed=3):
        both = np.concatenate([labels["probability_clicked"], labels["probability_bought"]], axis=1)
        total += inputs["ids"].numpy().astype(np.float64).T @ both
    np.testing.assert_array_equal(total, ids.T @ split.labels)


@pytest.mark.parametrize(
    ("bought", "error", "words"),
    [
        (pa.array([None, *[0, 1] * 29, 1]), DataError, "'bought' is missing in 1 of 60"),
        (pa.array([2, *[0, 1] * 29, 1]), DataError, "'bought' is neither 0 nor 1 in 1 of 60"),
        (pa.array([0] * 60), DataError, "'bought' is 0 in all"),
        (pa.array([[1]] * 60), SchemaError, "'bought' has type"),
    ],
)
def test_each_target_is_checked_and_named(bought, error, words):
    with pytest.raises(error, match=words):
        prepare(log(bought=bought), schema(TWO), split=RandomSplit(0.2, 0.2, seed=2))


def test_a_target_that_is_not_in_the_table_is_named():
    with pytest.raises(SchemaError, match="the target 'sold'"):
        prepare(log(), schema(("clicked", "sold")), split=RandomSplit())


def test_labels_of_a_table_to_score_have_a_column_a_target():
    labels = read_labels(read_table(log()), TWO)
    assert labels.shape == (60, 2) and labels[:5].tolist() == [[1, 1], [0, 0], [1, 0], [0, 0], [1, 1]]
    assert read_labels(read_table(log()), "bought").shape == (60,)
    with pytest.raises(DataError, match="'bought' is neither"):
        read_labels(read_table(log(bought=pa.array([7] * 60))), TWO)


def test_an_inferred_schema_leaves_every_target_out_of_the_features():
    found = Schema.infer(read_table(log()), target=TWO)
    assert found.targets == TWO and [feature.name for feature in found.features] == ["item"]
    assert "target: clicked, bought" in found.describe()
