"""The same rows seen through some of a schema's features: what one tower of two reads."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy.typing as npt

from tfshop.data.features import IdFeature, NumericFeature, SequenceFeature
from tfshop.data.schema import Schema
from tfshop.data.split import Split, Splits
from tfshop.errors import SchemaError


def narrow_schema(schema: Schema, names: Collection[str]) -> Schema:
    """Return a fitted schema with some features only, in its own order, and what was learned about them.

    Raises:
        SchemaError: For names that are no features, or no names.

    Example:
        >>> whole = Schema([IdFeature("user"), IdFeature("item")], target="bought")
        >>> [feature.name for feature in narrow_schema(whole, ["item"]).features]
        ['item']
    """
    known = [feature.name for feature in schema.features]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise SchemaError(
            f"{', '.join(map(repr, unknown))} is no feature of the schema. Expected some of {', '.join(known)}. "
            "Fix: name features as they are declared."
        )
    features = [feature for feature in schema.features if feature.name in names]
    tables = {feature.table_name for feature in features if isinstance(feature, IdFeature | SequenceFeature)}
    return schema.replace(
        features=features,
        vocabularies={table: words for table, words in schema.vocabularies.items() if table in tables},
        hash_tables={table: found for table in tables if (found := schema.hash_table(table)) is not None},
        statistics={name: numbers for name, numbers in schema.statistics.items() if name in names},
        decisions=(),
    )


def columns_of(schema: Schema, names: Collection[str], kind: type[IdFeature] | type[NumericFeature]) -> list[int]:
    """Positions of features among the columns of `ids` or `numeric`."""
    owners: tuple[IdFeature | NumericFeature, ...] = schema.id_columns if kind is IdFeature else schema.numeric_features
    return [position for position, feature in enumerate(owners) if feature.name in names]


def narrow_inputs(
    inputs: Mapping[str, npt.NDArray[Any]], schema: Schema, names: Collection[str]
) -> dict[str, npt.NDArray[Any]]:
    """Return packed inputs of a schema as those of `narrow_schema(schema, names)`."""
    made = {}
    for name in narrow_schema(schema, names).input_specs():
        if name in ("ids", "numeric"):
            kind = IdFeature if name == "ids" else NumericFeature
            made[name] = inputs[name][:, columns_of(schema, names, kind)]
        else:
            made[name] = inputs[name]
    return made


def narrow_split(split: Split, names: Collection[str]) -> Split:
    """Return the rows of a split with some features only."""
    narrow = narrow_schema(split.schema, names)
    return replace(split, inputs=narrow_inputs(split.inputs, split.schema, names), schema=narrow)


def narrow_splits(data: Splits, names: Collection[str]) -> Splits:
    """Return all three parts with some features only."""
    train, validation, test = (narrow_split(part, names) for part in (data.train, data.validation, data.test))
    return Splits(train, validation, test, train.schema)
