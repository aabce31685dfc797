from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from tfshop.data import IdFeature, InputSpec, NumericFeature, Schema, SequenceFeature, TimeSplit, VectorFeature
from tfshop.errors import DataError, SchemaError

SPLIT = TimeSplit("day", validation=2, test=3)


@pytest.fixture
def fitted(prepared):
    return prepared.schema


def test_packed_inputs_have_the_shapes_of_the_design(schema):
    assert schema.input_specs() == {
        "ids": InputSpec((2,), "int32"),
        "numeric": InputSpec((1,), "float32"),
        "hist_viewed": InputSpec((3,), "int32"),
        "vector_image": InputSpec((2,), "float32"),
    }


def test_a_kind_without_features_has_no_input():
    assert list(Schema([NumericFeature("price")], target="y").input_specs()) == ["numeric"]


def test_a_fitted_schema_comes_back_from_json_exactly(fitted):
    text = fitted.to_json()
    back = Schema.from_json(text)
    assert back == fitted
    assert back.to_json() == text
    statistics = fitted.statistics["price"]
    assert back.statistics["price"].mean.hex() == statistics.mean.hex()
    assert back.tables == fitted.tables == {"shop": 4, "item": 4}


def test_tables_need_a_fitted_schema(schema, fitted):
    assert not schema.is_fitted
    assert fitted.is_fitted
    for use in (lambda: schema.tables, lambda: schema.encode({})):
        with pytest.raises(SchemaError, match="prepare"):
            use()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 9}', '{"format": 1, "features": [{"kind": "odd"}]}'])
def test_text_that_is_no_schema_is_refused(text):
    with pytest.raises(SchemaError, match="schema"):
        Schema.from_json(text)


def test_a_changed_feature_in_the_json_is_checked(schema):
    content = json.loads(schema.to_json())
    content["features"][0]["min_count"] = -1
    with pytest.raises(SchemaError, match="min_count=-1"):
        Schema.from_json(json.dumps(content))


@pytest.mark.parametrize(
    ("features", "found"),
    [
        ([], "no features"),
        ([IdFeature("a"), NumericFeature("a")], "'a' is declared twice"),
        ([IdFeature("y")], "target 'y' is also a feature"),
        ([IdFeature("ids")], "called 'ids'"),
        ([IdFeature("a", table="t"), IdFeature("b", table="t", min_count=2)], "share the table 't'"),
        ([SequenceFeature("a", table="t"), SequenceFeature("hist_a", table="t")], "'hist_a' is declared twice"),
    ],
)
def test_schemas_that_contradict_themselves_are_refused(features, found):
    with pytest.raises(SchemaError, match=found):
        Schema(features, target="y")


def test_raw_rows_encode_as_the_splits_do(frame, prepared):
    encoded = prepared.schema.encode(frame.drop(columns="bought"))
    for name, values in encoded.items():
        parts = [part.inputs[name] for part in (prepared.train, prepared.validation, prepared.test)]
        np.testing.assert_array_equal(values, np.concatenate(parts))


def test_scoring_takes_unseen_missing_and_differently_typed_ids(fitted):
    rows = {
        "shop": ["north", "mars", None],
        "item": ["7", "nothing", None],
        "price": [None, 1, 2],
        "viewed": [["8", "1000"], None, []],
        "image": [[1, 2], [3, 4], None],
    }
    encoded = fitted.encode(rows)
    assert encoded["ids"].tolist() == [[1, 1], [0, 0], [0, 0]]
    assert encoded["hist_viewed"].tolist() == [[2, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert encoded["vector_image"].tolist() == [[1, 2], [3, 4], [0, 0]]
    assert np.isnan(encoded["numeric"][0, 0])


def test_a_row_to_score_may_lack_everything(fitted):
    names = [feature.name for feature in fitted.features]
    encoded = fitted.encode({name: [None] for name in names})
    assert encoded["ids"].tolist() == [[0, 0]]
    assert encoded["hist_viewed"].tolist() == [[0, 0, 0]]


def test_rows_to_score_are_refused_as_in_training(fitted, frame):
    with pytest.raises(SchemaError, match="'image' is not a column"):
        fitted.encode(frame.drop(columns="image"))
    with pytest.raises(SchemaError, match=r"'item' is declared IdFeature.*DOUBLE"):
        fitted.encode(frame.assign(item=1.5))
    with pytest.raises(DataError, match="'price' is inf in row 0"):
        fitted.encode(frame.assign(price=np.inf))
    with pytest.raises(DataError, match="'image' has a vector of 3"):
        fitted.encode(frame.assign(image=[[1.0, 2.0, 3.0]] * len(frame)))
    with pytest.raises(DataError, match="no rows"):
        fitted.encode(pd.DataFrame(frame.head(0)))


def test_describe_names_every_feature_and_its_size(fitted):
    text = fitted.describe()
    for words in ("target: bought", "group: shop", "table item, 3 ids, last 3", "standard", "width 2"):
        assert words in text
    assert text in repr(fitted)


def test_a_schema_keeps_its_own_copies():
    features = [IdFeature("a")]
    schema = Schema(features, target="y")
    features.append(VectorFeature("b", width=2))
    assert schema.features == (IdFeature("a"),)


def test_what_is_no_feature_is_refused_by_name():
    with pytest.raises(SchemaError, match=r"'item' is no feature.*IdFeature\('item'\)"):
        Schema(["item"], target="bought")
