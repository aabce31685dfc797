"""The logs on which tables are measured: their splits, the network, and where it is known the true logit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import tfshop as ts
from tfshop.data import IdFeature, NumericFeature, Schema, SequenceFeature
from tfshop.data.datasets.synthetic import synthetic_schema, synthetic_table
from tfshop.data.split import Splits

RETAIL = Path(__file__).parents[2] / "shared" / "data" / "online_retail"
LINK = "https://doi.org/10.24432/C5BW33"
TABLES = ("repurchase", "history")
NUMBERS = (
    "pair_orders",
    "pair_qty",
    "last_price",
    "pair_recency_days",
    "cust_orders",
    "cust_items",
    "cust_recency_days",
    "item_buyers",
    "item_orders",
    "item_orders_30d",
)
TRAIN, VALIDATION, TEST = 0, 1, 2
PLANTED_ROWS, PLANTED_IDS = 3_000_000, 1_100_000
DAYS = 10


@dataclass(frozen=True, eq=False)
class Log:
    """Rows, and the network that learns from them.

    Attributes:
        data: Splits.
        network: Hyperparameters of the `mlp`.
        epochs: Of its training.
        learning_rate: Likewise.
        true_logit: Of the test rows, where it is known.
    """

    data: Splits
    network: Mapping[str, Any]
    epochs: int
    learning_rate: float
    true_logit: NDArray[np.float64] | None = None


def promotion(fraction: float) -> Log:
    """Promotion response on Complete Journey."""
    data = ts.datasets.complete_journey(fraction=fraction)
    return Log(data, {"dimension": 16, "hidden": (400, 400, 400)}, 2, 3e-3)


def repurchase(fraction: float) -> Log:
    """Whether a customer buys an item again: learned before one cut in time, judged after the next.

    The pairs of a tenth of the customers before the first cut are the validation split: a network that knows a
    customer knows the labels of his other pairs.

    Raises:
        SystemExit: Where the files are not beside the project.
    """
    if not RETAIL.exists():
        wanted = ", ".join(f"{name}_{part}.csv.gz" for name in TABLES for part in ("train", "test"))
        raise SystemExit(f"{RETAIL} is not there. Expected {wanted}, made from {LINK}.")
    parts = [
        _pairs("train").sample(frac=fraction, random_state=0),
        _pairs("test").sample(frac=fraction, random_state=0),
    ]
    customers = parts[0]["CustomerID"].drop_duplicates().sample(frac=0.1, random_state=0)
    parts[0]["part"] = np.where(parts[0]["CustomerID"].isin(customers), VALIDATION, TRAIN)
    parts[1]["part"] = TEST
    schema = Schema(
        [
            IdFeature("CustomerID"),
            IdFeature("StockCode"),
            IdFeature("Country"),
            *(NumericFeature(name, transform="log1p") for name in NUMBERS),
            SequenceFeature("hist_items", table="StockCode", max_length=20, separator="|"),
        ],
        target="label",
        group="CustomerID",
        time="part",
    )
    rows = pd.concat(parts).sort_values("part", kind="stable")
    data = ts.prepare(ts.read_table(rows), schema, split=ts.TimeSplit("part", validation=VALIDATION, test=TEST))
    return Log(data, {"dimension": 16, "hidden": (400, 400, 400), "dropout": 0.3}, 4, 1e-3)


def _pairs(part: str) -> pd.DataFrame:
    """Pairs of customer and item, with the customer's history."""
    text = {"CustomerID": str, "StockCode": str, "hist_items": str}
    pairs, histories = (pd.read_csv(RETAIL / f"{name}_{part}.csv.gz", dtype=text) for name in TABLES)
    return pairs.merge(histories, on="CustomerID", how="left")


def planted(fraction: float) -> Log:
    """Synthetic clicks whose true logit is known: four columns drawn from 1,100,000 ids, tables of a million rows."""
    num_rows = round(PLANTED_ROWS * fraction)
    sizes = {"num_id_features": 4, "rows_per_feature": round(PLANTED_IDS * fraction), "seed": 0}
    table = synthetic_table(num_rows, **sizes)
    split = ts.TimeSplit("day", validation=DAYS - 2, test=DAYS - 1)
    data = ts.prepare(table, synthetic_schema(num_rows, **sizes), split=split)
    last = list(table.batches(f"SELECT true_logit, clicked FROM rows WHERE day = {DAYS - 1}", 1 << 17))  # noqa: S608
    true_logit, clicked = (np.concatenate([batch.column(place) for batch in last]) for place in (0, 1))
    if not np.array_equal(clicked, np.asarray(data.test.labels).reshape(-1)):
        raise SystemExit("the rows of the test split are in another order than those of the log")
    return Log(data, {"dimension": 16, "hidden": (100, 100)}, 1, 2e-3, true_logit.astype(np.float64))


LOGS: Mapping[str, Callable[[float], Log]] = {"promotion": promotion, "repurchase": repurchase, "planted": planted}
