from __future__ import annotations

import pytest

from tfshop.data import IdFeature, NumericFeature, SequenceFeature, VectorFeature
from tfshop.data.features import feature_from_dict, feature_to_dict
from tfshop.errors import SchemaError

FEATURES = [
    IdFeature("a", table="t", min_count=3, max_size=9),
    NumericFeature("b", transform="log1p"),
    SequenceFeature("c", table="t", max_length=5, separator=";"),
    VectorFeature("d", width=8),
]


@pytest.mark.parametrize("feature", FEATURES)
def test_a_feature_comes_back_from_plain_data(feature):
    assert feature_from_dict(feature_to_dict(feature)) == feature


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda: IdFeature(""), "name of an IdFeature"),
        (lambda: IdFeature("a", min_count=0), "min_count=0"),
        (lambda: IdFeature("a", max_size=0), "max_size=0"),
        (lambda: IdFeature("a", table=""), "table of feature 'a'"),
        (lambda: NumericFeature("a", transform="log"), "transform='log'"),
        (lambda: SequenceFeature("a", table="t", max_length=0), "max_length=0"),
        (lambda: SequenceFeature("a", table="t", max_length=True), "max_length=True"),
        (lambda: SequenceFeature("a", table="t", separator=""), "separator=''"),
        (lambda: VectorFeature("a", width=1.5), "width=1.5"),
    ],
)
def test_a_feature_checks_itself_at_construction(make, found):
    with pytest.raises(SchemaError, match=found) as raised:
        make()
    assert "Expected" in str(raised.value)
    assert "Fix:" in str(raised.value)


def test_input_names_are_prefixed_once():
    assert SequenceFeature("viewed", table="item").input_name == "hist_viewed"
    assert SequenceFeature("hist_viewed", table="item").input_name == "hist_viewed"
    assert VectorFeature("image", width=2).input_name == "vector_image"


def test_an_id_has_its_own_table_unless_told_otherwise():
    assert IdFeature("a").table_name == "a"
    assert IdFeature("a", table="t").table_name == "t"
