from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tfshop.data import GroupSplit, RandomSplit, prepare
from tfshop.data.datasets import synthetic, synthetic_schema, synthetic_table
from tfshop.errors import DataError


def column(table, name):
    return np.array([value for (value,) in table.sql(f"SELECT {name} FROM rows")], float)  # noqa: S608


def test_the_same_seed_gives_the_same_log():
    one, two, other = (synthetic_table(2000, history=3, seed=seed) for seed in (1, 1, 2))
    assert one.fingerprint == two.fingerprint != other.fingerprint


def test_the_true_logit_is_known_and_no_feature():
    table = synthetic_table(20_000)
    assert 0.8 < roc_auc_score(column(table, "clicked"), column(table, "true_logit")) < 0.95
    rate = 1 / (1 + np.exp(-column(table, "true_logit")))
    assert rate.mean() == pytest.approx(column(table, "clicked").mean(), abs=0.01)
    assert "true_logit" not in {feature.name for feature in synthetic_schema().features}


def test_ids_follow_zipf_and_numbers_are_sometimes_missing():
    table = synthetic_table(50_000, rows_per_feature=5000)
    counts = np.bincount(column(table, "id_0").astype(int))
    assert counts[0] > 5 * counts[9] > 5 * counts[99:109].mean()
    (missing,) = table.sql("SELECT avg((number_0 IS NULL)::INT) FROM rows")[0]
    assert missing == pytest.approx(0.05, abs=0.01)


def test_all_sizes_are_as_asked():
    data = synthetic(5000, num_id_features=3, rows_per_feature=50, num_numeric=4, history=6)
    assert {name: spec.shape for name, spec in data.schema.input_specs().items()} == {
        "ids": (3,),
        "numeric": (4,),
        "hist_id_0": (6,),
    }
    assert max(data.schema.tables.values()) <= 51
    assert [part.num_rows for part in (data.train, data.validation, data.test)] == [4000, 500, 500]
    assert list(synthetic(500, num_numeric=0).schema.input_specs()) == ["ids"]


def test_all_three_splits_work():
    table, schema = synthetic_table(3000), synthetic_schema(3000)
    for split in (GroupSplit("id_0"), RandomSplit()):
        assert prepare(table, schema, split=split).test.num_rows > 50


def test_sizes_that_make_no_log_are_refused():
    for sizes in (
        {"num_rows": 10},
        {"num_rows": 1000, "num_id_features": 0},
        {"num_rows": 1000, "rows_per_feature": 1},
    ):
        with pytest.raises(DataError, match="Expected at least"):
            synthetic(**sizes)


def test_a_small_network_learns_it_in_two_epochs():
    from tfshop._keras import keras, tf

    keras.utils.set_random_seed(0)
    data = synthetic(20_000)
    ids, numeric = keras.Input((4,), dtype="int32", name="ids"), keras.Input((2,), name="numeric")
    offsets = np.cumsum([0, *data.schema.tables.values()])[:-1].astype(np.int32)
    rows = keras.layers.Flatten()(keras.layers.Embedding(sum(data.schema.tables.values()), 8)(ids + offsets))
    numbers = tf.where(tf.math.is_nan(numeric), 0.0, tf.math.log1p(numeric))
    hidden = keras.layers.Dense(32, activation="relu")(keras.layers.Concatenate()([rows, numbers]))
    model = keras.Model([ids, numeric], keras.layers.Dense(1, activation="sigmoid")(hidden))
    model.compile(keras.optimizers.Adam(3e-3), "binary_crossentropy")
    model.fit(data.train.batches(shuffle=True), epochs=2, verbose=0)
    scores = model.predict(data.test.batches(), verbose=0)[:, 0]
    assert roc_auc_score(data.test.labels, scores) > 0.7
