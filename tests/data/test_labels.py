from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tfshop.data import read_table
from tfshop.data.labels import read_labels
from tfshop.errors import DataError, SchemaError


@pytest.mark.parametrize("values", [[1, 0, 1], [1.0, 0.0, 1.0], [True, False, True], ["True", "false", "TRUE"]])
def test_labels_are_read_whatever_their_type(values):
    labels = read_labels(read_table(pd.DataFrame({"y": values})), "y")
    assert labels.tolist() == [1, 0, 1]
    assert labels.dtype == np.float32


def test_one_class_is_enough_where_nothing_is_learned():
    assert read_labels(read_table(pd.DataFrame({"y": [1, 1]})), "y").tolist() == [1, 1]


@pytest.mark.parametrize(
    ("frame", "error", "found"),
    [
        ({"z": [0, 1]}, SchemaError, "target 'y' is not a column"),
        ({"y": [[0], [1]]}, SchemaError, r"type BIGINT\[\]"),
        ({"y": pd.to_datetime(["2024-01-01", "2024-01-02"])}, SchemaError, "type TIMESTAMP"),
        ({"y": [0, None]}, DataError, r"missing in 1 of 2 rows \(first: row 1\)"),
        ({"y": [0, 0.5]}, DataError, r"neither 0 nor 1 in 1 of 2 rows \(first: row 1, 0.5\)"),
    ],
)
def test_columns_that_hold_no_labels_are_refused(frame, error, found):
    with pytest.raises(error, match=found):
        read_labels(read_table(pd.DataFrame(frame)), "y")
