"""From a table to encoded splits: reading, schemas, splitting, fitting, encoding, and ready-made data sets."""

from __future__ import annotations

from tfshop.data.binding import bind
from tfshop.data.duplicates import count_duplicates, drop_duplicates
from tfshop.data.features import Feature, IdFeature, NumericFeature, SequenceFeature, VectorFeature
from tfshop.data.opening import read_table
from tfshop.data.preparation import prepare
from tfshop.data.schema import InputSpec, Schema
from tfshop.data.split import Split, Splits
from tfshop.data.splits import GroupSplit, RandomSplit, SplitRule, TimeSplit
from tfshop.data.table import Table
from tfshop.data.vocabulary import NumericStatistics, Vocabulary

__all__ = [
    "Feature",
    "GroupSplit",
    "IdFeature",
    "InputSpec",
    "NumericFeature",
    "NumericStatistics",
    "RandomSplit",
    "Schema",
    "SequenceFeature",
    "Split",
    "SplitRule",
    "Splits",
    "Table",
    "TimeSplit",
    "VectorFeature",
    "Vocabulary",
    "bind",
    "count_duplicates",
    "drop_duplicates",
    "prepare",
    "read_table",
]
