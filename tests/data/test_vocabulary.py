from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from tfshop.data import NumericStatistics, Vocabulary
from tfshop.errors import SchemaError


def test_unknown_and_missing_values_are_id_0():
    vocabulary = Vocabulary(["x", "y"], [2, 1])
    assert vocabulary.ids(["y", "x", "z", None]).tolist() == [2, 1, 0, 0]
    assert vocabulary.ids(pa.array(["y"])).dtype == np.int32
    assert (len(vocabulary), vocabulary.num_rows) == (2, 3)


def test_a_vocabulary_comes_back_from_json():
    vocabulary = Vocabulary(["é", '"', ""], [3, 2, 2])
    back = Vocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict())))
    assert back == vocabulary
    assert back.values.to_pylist() == ["é", '"', ""]


def test_order_and_counts_are_part_of_equality():
    assert Vocabulary(["x", "y"], [1, 1]) != Vocabulary(["y", "x"], [1, 1])
    assert Vocabulary(["x", "y"], [1, 1]) != Vocabulary(["x", "y"], [2, 1])
    assert Vocabulary(["x"], [1]) != "x"


def test_lengths_that_differ_and_missing_values_are_refused():
    with pytest.raises(SchemaError, match="2 values"):
        Vocabulary(["x", "y"], [1])
    with pytest.raises(SchemaError, match="1 missing"):
        Vocabulary(["x", None], [1, 1])


def test_a_million_values_stay_small():
    """Text in one Arrow buffer: far under the hundred bytes a Python string and its pointer take."""
    values = pa.array([str(i) for i in range(1_000_000)])
    assert Vocabulary(values, np.ones(1_000_000)).values.nbytes < 12_000_000


def test_statistics_are_of_the_transformed_value():
    raw = np.array([np.nan, -3.0, 0.0, 7.0], np.float32)
    plain = NumericStatistics.measure(raw, "none")
    assert (plain.count, plain.missing, plain.minimum, plain.maximum) == (3, 1, -3.0, 7.0)
    assert plain.mean == pytest.approx(4 / 3)
    assert plain.standard_deviation == pytest.approx(np.std([-3, 0, 7]))
    logarithmic = NumericStatistics.measure(raw, "log1p")
    assert logarithmic.minimum == pytest.approx(-np.log(4))
    assert logarithmic.maximum == pytest.approx(np.log(8))
