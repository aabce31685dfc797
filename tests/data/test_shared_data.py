"""Real tables that lie beside the project; a fresh clone has not got them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tfshop.data import GroupSplit, IdFeature, RandomSplit, Schema, SequenceFeature, prepare, read_table

SHARED = Path(__file__).parents[3] / "shared" / "data"

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the real data sets beside the project are not there")


def test_online_shoppers_goes_from_csv_to_splits():
    table = read_table(SHARED / "online_shoppers" / "online_shoppers_intention.csv")
    assert (table.num_rows, len(table.columns)) == (12_330, 18)
    schema = Schema.infer(table, target="Revenue")
    assert {"Month", "VisitorType", "Weekend", "Browser"} <= {feature.name for feature in schema.id_features}
    assert {"PageValues", "BounceRates"} <= {feature.name for feature in schema.numeric_features}
    data = prepare(table, schema, split=RandomSplit(test=0.2))
    assert np.concatenate([part.labels for part in (data.train, data.validation, data.test)]).sum() == 1908


def test_codes_of_online_retail_stay_text():
    types = {"StockCode": "VARCHAR", "CustomerID": "VARCHAR"}
    table = read_table(SHARED / "online_retail" / "repurchase_train.csv.gz", types=types)
    schema = Schema.infer(table, target="label", group="CustomerID")
    assert {IdFeature("StockCode"), IdFeature("CustomerID")} <= set(schema.features)
    data = prepare(table, schema, split=GroupSplit("CustomerID"))
    assert 110_000 < sum(part.num_rows for part in (data.train, data.validation, data.test)) == 113_322
    assert not data.validation.inputs["ids"][:, 0].any(), "customers of validation were never trained on"


def test_histories_joined_by_bars_are_sequences():
    table = read_table(SHARED / "online_retail" / "history_train.csv.gz", types={"CustomerID": "VARCHAR"})
    schema = Schema.infer(table, target="CustomerID")  # there is no label; any other column will do
    assert schema.features == (SequenceFeature("hist_items", table="items"),)
