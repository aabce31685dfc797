from __future__ import annotations

import itertools

import numpy as np
import pytest

from tfshop.data import InputSpec, Split, TimeSplit, prepare
from tfshop.data.datasets import synthetic
from tfshop.errors import DataError, ModelError


@pytest.fixture(scope="module")
def data():
    return synthetic(1000, history=5, batch_size=64)


def epoch(dataset):
    batches = list(dataset.as_numpy_iterator())
    names = batches[0][0]
    return {name: np.concatenate([inputs[name] for inputs, _ in batches]) for name in names}, np.concatenate(
        [labels for _, labels in batches]
    )


def test_batches_hold_every_row_once_in_order(data):
    inputs, labels = epoch(data.train.batches())
    assert labels.shape == (800, 1)
    assert labels.dtype == np.float32
    np.testing.assert_array_equal(labels[:, 0], data.train.labels)
    for name, values in data.train.inputs.items():
        np.testing.assert_array_equal(inputs[name], values)


def test_the_last_batch_is_smaller_and_counted(data):
    sizes = [len(labels) for _, labels in data.train.batches().as_numpy_iterator()]
    assert sizes == [64] * 12 + [32]
    assert len(sizes) == data.train.num_batches == int(data.train.batches().cardinality())


def test_shapes_are_known_but_for_the_batch(data):
    inputs, labels = data.train.batches().element_spec
    assert {name: spec.shape.as_list() for name, spec in inputs.items()} == {
        "ids": [None, 4],
        "numeric": [None, 2],
        "hist_id_0": [None, 5],
    }
    assert labels.shape.as_list() == [None, 1]


def test_shuffling_depends_on_the_seed_and_the_epoch_only(data):
    """Rows are told apart by their numeric inputs; the labels go with them."""
    first, second = data.train.batches(shuffle=True, seed=3), data.train.batches(shuffle=True, seed=3)
    one, two = epoch(first)[0]["ids"], epoch(first)[0]["ids"]
    assert not np.array_equal(one, two), "another epoch, another order"
    np.testing.assert_array_equal(one, epoch(second)[0]["ids"])
    np.testing.assert_array_equal(two, epoch(second)[0]["ids"])
    assert not np.array_equal(one, epoch(data.train.batches(shuffle=True, seed=4))[0]["ids"])


def test_a_shuffled_row_keeps_its_label(data):
    inputs, labels = epoch(data.train.batches(shuffle=True))
    rows = np.column_stack([inputs["ids"], np.nan_to_num(inputs["numeric"]), labels])
    original = data.train.inputs
    expected = np.column_stack([original["ids"], np.nan_to_num(original["numeric"]), data.train.labels])
    assert sorted(map(tuple, rows)) == sorted(map(tuple, expected))
    assert not np.array_equal(rows, expected)


def test_repeat_goes_on_with_the_next_epoch(data):
    repeated = iter(data.train.batches(shuffle=True, seed=3, repeat=True).as_numpy_iterator())
    once = data.train.batches(shuffle=True, seed=3)
    for _ in range(2):
        for inputs, _ in once.as_numpy_iterator():
            np.testing.assert_array_equal(next(repeated)[0]["ids"], inputs["ids"])


def test_reading_can_begin_in_the_middle_of_a_later_epoch(data):
    """What follows is what an uninterrupted reader would have seen from there on."""
    whole = data.train.batches(shuffle=True, seed=3, repeat=True).as_numpy_iterator()
    first = 2 * data.train.num_batches + 1
    expected = list(itertools.islice(whole, first, first + data.train.num_batches))
    late = data.train.batches(shuffle=True, seed=3, repeat=True, first_epoch=2, skip=1).as_numpy_iterator()
    for (inputs, labels), (same_inputs, same_labels) in zip(expected, late, strict=False):
        np.testing.assert_array_equal(inputs["ids"], same_inputs["ids"])
        np.testing.assert_array_equal(labels, same_labels)
    rest = data.train.batches(skip=1)
    assert len(list(rest)) == rest.cardinality() == data.train.num_batches - 1


def test_batches_serve_a_network_with_an_input_a_feature(data):
    wanted = {
        "id_1": InputSpec((1,), "int64"),
        "number_0": InputSpec((), "float32"),
        "hist_id_0": InputSpec((5,), "int32"),
    }
    inputs, _ = epoch(data.train.batches(inputs=wanted))
    np.testing.assert_array_equal(inputs["id_1"], data.train.inputs["ids"][:, 1:2])
    assert inputs["number_0"].shape == (800,)
    with pytest.raises(ModelError, match="input 'shoe_size'"):
        data.train.batches(inputs={"shoe_size": InputSpec((), "int32")})


def test_take_gives_the_first_rows_or_a_sample(data):
    assert data.train.take(10).labels.tolist() == data.train.labels[:10].tolist()
    sample, again, other = (data.train.take(50, seed=seed) for seed in (1, 1, 2))
    assert sample.num_rows == 50
    np.testing.assert_array_equal(sample.inputs["numeric"], again.inputs["numeric"])
    assert not np.array_equal(sample.inputs["ids"], other.inputs["ids"])
    assert len(sample.groups) == 50
    assert data.train.take(10_000, seed=1).num_rows == 800
    with pytest.raises(DataError, match="take"):
        data.train.take(0)


def test_the_batch_size_can_be_changed_and_is_checked(data):
    assert data.train.with_batch_size(800).num_batches == 1
    assert data.with_batch_size(100).batch_size == 100
    assert data.with_batch_size(100).test.num_batches == 1
    for wrong in (0, -1, 1.5, True):
        with pytest.raises(DataError, match="batch_size"):
            data.train.with_batch_size(wrong)


def test_arrays_of_different_lengths_are_refused(data):
    with pytest.raises(DataError, match="2 labels"):
        Split("train", data.train.inputs, np.zeros(2, np.float32), None, 4, data.schema)


def test_groups_are_numbers_of_the_group_column(frame, schema, prepared):
    """Equal shops, equal numbers, across the parts and for shops that training never saw."""
    groups = np.concatenate([part.groups for part in (prepared.train, prepared.validation, prepared.test)])
    shops = {"east": 1, "north": 2, "south": 3, "west": 4}
    assert groups.tolist() == [shops[shop] for shop in frame["shop"]]
    assert groups.dtype == np.int64
    ungrouped = prepare(frame, schema.replace(group=None), split=TimeSplit("day", validation=2, test=3))
    assert ungrouped.train.groups is None


def test_repr_shows_rows_and_positives(data):
    assert "800 rows" in repr(data.train)
    assert "validation" in repr(data)


def test_keras_can_fit_on_the_batches(data):
    """Plain compile and fit: two epochs know their number of steps."""
    from tfshop._keras import keras

    ids = keras.Input((4,), dtype="int32", name="ids")
    hidden = keras.layers.Flatten()(keras.layers.Embedding(2000, 2)(ids))
    model = keras.Model([ids], keras.layers.Dense(1, activation="sigmoid")(hidden))
    model.compile("sgd", "binary_crossentropy")
    wanted = {"ids": data.schema.input_specs()["ids"]}
    history = model.fit(data.train.batches(shuffle=True, inputs=wanted), epochs=2, verbose=0)
    assert len(history.history["loss"]) == 2
    assert model.predict(data.test.batches(inputs=wanted), verbose=0).shape == (100, 1)
