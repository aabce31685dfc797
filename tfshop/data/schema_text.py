"""A schema as text that people read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfshop.data.features import Feature, NumericFeature, SequenceFeature, VectorFeature

if TYPE_CHECKING:
    from tfshop.data.schema import Schema


def describe(schema: Schema) -> str:
    """A line a feature, then the decisions of `infer`."""
    named = {"target": ", ".join(schema.targets), "group": schema.group, "time": schema.time}
    lines = ["  ".join(f"{role}: {column}" for role, column in named.items() if column)]
    lines += [f"  {_feature(schema, feature)}" for feature in schema.features]
    if schema.decisions:
        lines += ["decided:", *(f"  {sentence}" for sentence in schema.decisions)]
    return "\n".join(lines)


def _feature(schema: Schema, feature: Feature) -> str:
    if isinstance(feature, NumericFeature):
        return f"{feature.name:<24} numeric   {feature.transform}{_clip(schema, feature)}"
    if isinstance(feature, VectorFeature):
        return f"{feature.name:<24} vector    width {feature.width}"
    known = _table(schema, feature.table_name)
    length = f", last {feature.max_length}" if isinstance(feature, SequenceFeature) else ""
    return f"{feature.name:<24} {feature.kind:<9} table {feature.table_name}{known}{length}"


def _clip(schema: Schema, feature: NumericFeature) -> str:
    if feature.clip is None:
        return ""
    found = schema.statistics.get(feature.name)
    limits = "" if found is None else f": {found.low:.6g} to {found.high:.6g}"
    return f", clipped to the quantiles {feature.clip[0]:g} to {feature.clip[1]:g}{limits}"


def _table(schema: Schema, name: str) -> str:
    hashed = schema.hash_table(name)
    if hashed is not None:
        return f", {hashed.hashes} hash{'es' if hashed.hashes > 1 else ''} into {hashed.buckets:,} rows"
    vocabulary = schema.vocabularies.get(name)
    return "" if vocabulary is None else f", {len(vocabulary):,} ids"
