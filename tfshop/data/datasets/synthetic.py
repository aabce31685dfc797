"""A planted click log of any size: synthetic, with the true logit known, for tests and scale benchmarks.

Nothing measured on it says anything about real shoppers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tfshop.data.features import Feature, IdFeature, NumericFeature, SequenceFeature
from tfshop.data.opening import read_table
from tfshop.data.preparation import prepare
from tfshop.data.schema import Schema
from tfshop.data.split import Splits
from tfshop.data.splits import SplitRule, TimeSplit
from tfshop.data.table import Table
from tfshop.errors import DataError

DAYS = 10
_ZIPF_EXPONENT = 1.1
_MISSING = 0.05
_FACTORS = 4
_LEAST = {"num_rows": 100, "num_id_features": 1, "rows_per_feature": 2, "num_numeric": 0, "history": 0, "seed": 0}

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Planted:
    """The size of a planted click log.

    Args:
        num_rows: Rows, at least 100.
        num_id_features: Columns `id_0`, `id_1`, ...; `id_0` is the group.
        rows_per_feature: Different ids each column can have; how often each occurs follows Zipf's law.
        num_numeric: Columns `number_0`, ...: log-normal, 5% missing.
        history: The greatest length of the column `hist_id_0`, a sequence of values of `id_0`; 0 for none.
        seed: Draws the effects and the rows.

    Raises:
        DataError: For sizes that make no log.
    """

    num_rows: int
    num_id_features: int = 4
    rows_per_feature: int = 1000
    num_numeric: int = 2
    history: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the sizes."""
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise DataError(
                    f"{name} is {getattr(self, name)!r}. Expected at least {least}. Fix: give a larger one."
                )


def synthetic(
    num_rows: int,
    *,
    split: SplitRule | None = None,
    batch_size: int = 512,
    **sizes: int,
) -> Splits:
    """Return a planted click log, prepared. It is synthetic: for tests and scale benchmarks only.

    Args:
        num_rows: Rows of all three parts together.
        split: The rule. Default: by time, days 0-7, 8 and 9.
        batch_size: Rows of a batch.
        **sizes: `num_id_features`, `rows_per_feature`, `num_numeric`, `history` and `seed`; see `Planted`.

    Raises:
        DataError: For sizes that make no log.

    Example:
        >>> synthetic(1000, num_id_features=3, seed=1).train.inputs["ids"].shape
        (800, 3)
    """
    planted = Planted(num_rows, **sizes)
    rule = split or TimeSplit("day", validation=DAYS - 2, test=DAYS - 1)
    return prepare(_table(planted), _schema(planted), split=rule, batch_size=batch_size)


def synthetic_table(num_rows: int, **sizes: int) -> Table:
    """Return the planted rows themselves, as `synthetic` encodes them; synthetic like it.

    Columns: `id_0`..., `number_0`..., `hist_id_0`, `day` (0 to 9, in order), `clicked`, and `true_logit`, the logit
    that `clicked` was drawn from (no feature: it is the answer).

    Args:
        num_rows: Rows.
        **sizes: As in `Planted`.

    Raises:
        DataError: For sizes that make no log.
    """
    return _table(Planted(num_rows, **sizes))


def synthetic_schema(num_rows: int = 100, **sizes: int) -> Schema:
    """Return the schema of `synthetic_table` for the same sizes."""
    return _schema(Planted(num_rows, **sizes))


def _schema(planted: Planted) -> Schema:
    features: list[Feature] = [IdFeature(f"id_{i}") for i in range(planted.num_id_features)]
    features += [NumericFeature(f"number_{i}", transform="log1p") for i in range(planted.num_numeric)]
    if planted.history:
        features.append(SequenceFeature("hist_id_0", table="id_0", max_length=planted.history))
    return Schema(features, target="clicked", group="id_0", time="day")


def _table(planted: Planted) -> Table:
    random = np.random.default_rng(planted.seed)
    logit = np.full(planted.num_rows, -1.0)
    columns: dict[str, npt.NDArray[np.generic] | pa.Array] = {}
    ids = [_zipf(random, planted.num_rows, planted.rows_per_feature) for _ in range(planted.num_id_features)]
    for i, column in enumerate(ids):
        columns[f"id_{i}"] = column
        logit += _effects(random, planted.rows_per_feature, 1.5 / np.sqrt(planted.num_id_features))[column]
    if planted.num_id_features > 1:
        logit += _interaction(random, ids[0], ids[1], planted.rows_per_feature)
    for i in range(planted.num_numeric):
        raw, effect = _number(random, planted.num_rows)
        columns[f"number_{i}"] = raw
        logit += effect / np.sqrt(planted.num_numeric)
    if planted.history:
        columns["hist_id_0"], effect = _history(random, planted)
        logit += effect
    columns["day"] = np.arange(planted.num_rows) * DAYS // planted.num_rows
    columns["clicked"] = (random.random(planted.num_rows) < 1 / (1 + np.exp(-logit))).astype(np.int8)
    columns["true_logit"] = logit
    return read_table(pa.table({name: pa.array(column, from_pandas=True) for name, column in columns.items()}))


def _zipf(random: np.random.Generator, size: int, num_values: int) -> Integers:
    """Draw ids from 0 on; id r has a probability proportional to 1 / (r + 1)^1.1."""
    cumulative = np.cumsum(np.arange(1, num_values + 1, dtype=np.float64) ** -_ZIPF_EXPONENT)
    drawn: Integers = np.searchsorted(cumulative / cumulative[-1], random.random(size)).astype(np.int64)
    return np.minimum(drawn, num_values - 1)


def _effects(random: np.random.Generator, num_values: int, scale: float) -> Floats:
    return random.normal(0.0, scale, num_values)


def _interaction(random: np.random.Generator, left: Integers, right: Integers, num_values: int) -> Floats:
    """A factorization machine's term: the product of two short vectors, one an id."""
    vectors = random.normal(0.0, 0.6, (2, num_values, _FACTORS))
    product: Floats = np.einsum("rf,rf->r", vectors[0][left], vectors[1][right])
    return product


def _number(random: np.random.Generator, size: int) -> tuple[Floats, Floats]:
    """Draw a log-normal number, some missing, and its effect: linear in the logarithm, none where missing."""
    normal = random.normal(0.0, 1.0, size)
    missing = random.random(size) < _MISSING
    weight = random.choice([-1.0, 1.0])
    return np.where(missing, np.nan, np.exp(normal)), np.where(missing, 0.0, weight * normal)


def _history(random: np.random.Generator, planted: Planted) -> tuple[pa.Array, Floats]:
    """Draw sequences of 0 to `history` ids, and their effect: the mean of one effect an id, scaled up."""
    lengths = random.integers(0, planted.history + 1, planted.num_rows)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    values = _zipf(random, int(offsets[-1]), planted.rows_per_feature)
    effects = np.concatenate([[0.0], np.cumsum(_effects(random, planted.rows_per_feature, 1.0)[values])])
    sums = effects[offsets[1:]] - effects[offsets[:-1]]
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values)), sums / np.maximum(lengths, 1)
