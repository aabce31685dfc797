"""What a schema may not be: features, targets and tables that contradict each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfshop.data.features import IdFeature, NumericFeature, SequenceFeature, VectorFeature
from tfshop.errors import SchemaError

if TYPE_CHECKING:
    from tfshop.data.schema import Schema


def require_consistent(schema: Schema) -> None:
    """Raise `SchemaError` for features, targets or tables that contradict each other."""
    for item in schema.features:
        if not isinstance(item, (IdFeature, NumericFeature, SequenceFeature, VectorFeature)):
            raise SchemaError(
                f"{item!r} is no feature. Expected IdFeature, NumericFeature, SequenceFeature or VectorFeature. "
                f"Fix: e.g. IdFeature({item!r})."
            )
    names = [feature.name for feature in schema.features]
    inputs = [sequence.input_name for sequence in schema.sequence_features]
    inputs += [vector.input_name for vector in schema.vector_features]
    if not names:
        raise SchemaError("the schema has no features. Expected at least one. Fix: name the columns to learn from.")
    for name in (*names, *inputs):
        if names.count(name) > 1 or inputs.count(name) > 1:
            raise SchemaError(f"{name!r} is declared twice. Expected each column once. Fix: remove one of them.")
        if name in {"ids", "numeric"}:
            raise SchemaError(
                f"a feature is called {name!r}, like a packed input. Expected another name. Fix: rename it."
            )
    _require_targets(schema, names)
    _require_table_rules(schema)


def _require_targets(schema: Schema, names: Sequence[str]) -> None:
    """Raise where a target is no column of outcomes, or two of them could not be told apart."""
    if not schema.target or not isinstance(schema.target, (str, tuple)):
        raise SchemaError(f"the target is {schema.target!r}. Expected the name of a column. Fix: target='bought'.")
    for target in schema.targets:
        if not isinstance(target, str) or not target:
            raise SchemaError(f"the target is {target!r}. Expected the name of a column. Fix: target='bought'.")
        if target in {schema.group, schema.time}:
            raise SchemaError(
                f"the target {target!r} is also the group or the time. Expected different columns. "
                "Fix: name the column of outcomes as target."
            )
        if target in names:
            raise SchemaError(
                f"the target {target!r} is also a feature. Expected features known before the outcome. "
                "Fix: remove it from the features."
            )
    if len(set(schema.outputs.values())) < len(schema.targets):
        raise SchemaError(
            f"the targets are {', '.join(map(repr, schema.targets))}, which give outputs of one name. Expected each "
            "column once, and names that differ in letters or digits. Fix: remove or rename one of them."
        )


def _require_table_rules(schema: Schema) -> None:
    """Raise where features of one table disagree on how its vocabulary is built."""
    rules: dict[str, IdFeature] = {}
    for feature in schema.id_features:
        first = rules.setdefault(feature.table_name, feature)
        if first.table_rule != feature.table_rule:
            raise SchemaError(
                f"features {first.name!r} and {feature.name!r} share the table {feature.table_name!r}, but (min_count, "
                f"max_size, hash_buckets, hashes, hash_seed) are {first.table_rule} and {feature.table_rule}. "
                "Expected the same. Fix: give both the same numbers, or a table each."
            )
    for sequence in schema.sequence_features:
        owner = rules.get(sequence.table_name)
        if owner is not None and owner.hashes > 1:
            raise SchemaError(
                f"sequence {sequence.name!r} has its ids in the table {sequence.table_name!r}, where an id has "
                f"{owner.hashes} rows. Expected one row an id: a sequence holds one number a position. "
                f"Fix: hashes=1 for {owner.name!r}, or a table of its own for the sequence."
            )
