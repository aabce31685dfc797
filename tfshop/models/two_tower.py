"""Two towers: a vector for who asks, one for each item, and nothing but their product in between."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tfshop._keras import keras
from tfshop.data.features import IdFeature, NumericFeature, SequenceFeature, VectorFeature
from tfshop.data.narrowing import columns_of, narrow_schema
from tfshop.data.schema import Schema
from tfshop.errors import ModelError
from tfshop.layers import ColumnSelect, DotProduct, UnitLength
from tfshop.models.blocks import click_inputs, click_model, join_fields, numeric_columns, vector_fields
from tfshop.models.checks import require_count, require_share, require_widths
from tfshop.models.lookup import look_up, pooled

SIDES = ("user", "item")
SCORE = "score"


def build_two_tower(
    schema: Schema,
    *,
    user: Collection[str] = (),
    item: Collection[str] = (),
    dimension: int = 16,
    hidden: Sequence[int] = (256, 128),
    dropout: float = 0.0,
    vector_width: int = 32,
    normalize: bool = True,
) -> Any:
    """Score an item for a user by the product of two vectors, each of a tower of its own.

    A table that features of both sides name, such as that of the items in a user's history, is shared. `logit` is the
    score times a weight, plus a bias. Layers `user_…` and `item_…` are where the towers are cut apart for export.

    Args:
        schema: Fitted schema.
        user: Names of the features that say who asks; where only `item` is given, all the others.
        item: Names of the features that say what could be shown; where only `user` is given, all the others.
        dimension: Width of the embedding tables.
        hidden: Widths of each tower's hidden layers.
        dropout: Share of units dropped while training, in [0, 1).
        vector_width: Width of the two vectors.
        normalize: Whether the vectors have length 1, so that the score is their cosine.

    Returns:
        Functional model. Inputs: as `schema.input_specs()`. Output: `probability`, float32 (batch, 1). Layers
        `user_vector` and `item_vector`, float32 (batch, vector_width), and `score`, their product.

    Raises:
        ModelError: For features on both sides, on none, or unknown ones; for widths below 1.

    References:
        Yi et al., Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations, RecSys 2019.
    """
    require_widths("hidden", hidden)
    require_count("vector_width", vector_width)
    require_share("dropout", dropout)
    sides = tower_features(schema, user, item)
    inputs = click_inputs(schema)
    shared = _shared_tables(schema, sides)
    rows = sum(size for table, size in schema.tables.items() if table in shared)
    table = keras.layers.Embedding(rows, dimension, name="shared_table") if shared else None
    vectors = []
    for side, names in sides.items():
        own = narrow_schema(schema, names)
        fields, numerics = _features(side, own, _cut(schema, inputs, side, names), dimension, (shared, table))
        hidden_layer = _stack(side, fields, numerics, hidden, dropout)
        name = f"{side}_vector"
        projected = keras.layers.Dense(vector_width, name=f"{name}_raw" if normalize else name)(hidden_layer)
        vectors.append(UnitLength(name=name)(projected) if normalize else projected)
    return click_model(inputs, [DotProduct(name=SCORE)(vectors)], name="two_tower")


def tower_features(schema: Schema, user: Collection[str], item: Collection[str]) -> dict[str, list[str]]:
    """Features of each side, in the schema's order.

    Raises:
        ModelError: For features on both sides, on none, or unknown ones.
    """
    names = [feature.name for feature in schema.features]
    if isinstance(user, str) or isinstance(item, str) or not (user or item):
        raise ModelError(
            f"two_tower got user={user!r} and item={item!r}. Expected the names of the features of one side, or of "
            f"both. Fix: build_model('two_tower', schema, item=(…)) with some of {', '.join(names)}."
        )
    given = {"user": set(user) or set(names) - set(item), "item": set(item) or set(names) - set(user)}
    unknown = sorted((given["user"] | given["item"]) - set(names))
    both = sorted(given["user"] & given["item"])
    neither = [name for name in names if name not in given["user"] | given["item"]]
    for wrong, what in ((unknown, "unknown"), (both, "on both sides"), (neither, "on no side")):
        if wrong:
            raise ModelError(
                f"two_tower: {', '.join(map(repr, wrong))} {'is' if len(wrong) == 1 else 'are'} {what}. Expected each "
                f"of {', '.join(names)} on one side. Fix: name each in user or in item, or leave it out of the schema."
            )
    for side, chosen in given.items():
        if not chosen:
            raise ModelError(f"two_tower: no features are left for the {side}. Expected at least one. Fix: {side}=(…).")
    return {side: [name for name in names if name in given[side]] for side in SIDES}


def features_of_tower(model: Any, schema: Schema, side: str) -> list[str]:
    """Features that one side of a two-tower network reads, found by the layers at which it is cut.

    Raises:
        ModelError: For a network that `build_two_tower` did not make.
    """
    layers = {layer.name: layer for layer in model.layers}
    names: list[str] = []
    if f"{side}_ids" in layers:
        names += [schema.id_columns[column].name for column in layers[f"{side}_ids"].columns]
    if f"{side}_numeric" in layers:
        names += [schema.numeric_features[column].name for column in layers[f"{side}_numeric"].columns]
    lists: tuple[SequenceFeature | VectorFeature, ...] = (*schema.sequence_features, *schema.vector_features)
    names += [feature.name for feature in lists if f"{side}_{feature.input_name}" in layers]
    if f"{side}_vector" not in layers or not names:
        raise ModelError(
            f"model {model.name!r} has no {side} tower. Expected a network with layers {side}_vector and {side}_ids, "
            "as build_model('two_tower', …) makes it. Fix: build it so, or export the whole network with compress."
        )
    return [feature.name for feature in schema.features if feature.name in names]


def _cut(schema: Schema, inputs: Mapping[str, Any], side: str, names: Collection[str]) -> dict[str, Any]:
    """The packed inputs of one side, by input name; the layers are called <side>_<input>."""
    made = {}
    for name in narrow_schema(schema, names).input_specs():
        layer = f"{side}_{name}"
        if name in ("ids", "numeric"):
            columns = columns_of(schema, names, IdFeature if name == "ids" else NumericFeature)
            made[name] = ColumnSelect(columns, name=layer)(inputs[name])
        else:
            made[name] = keras.layers.Activation("linear", name=layer)(inputs[name])
    return made


def _shared_tables(schema: Schema, sides: Mapping[str, Collection[str]]) -> set[str]:
    user, item = (set(narrow_schema(schema, names).table_names) for names in sides.values())
    return user & item


def _features(
    side: str, schema: Schema, inputs: Mapping[str, Any], dimension: int, sharing: tuple[set[str], Any]
) -> tuple[Any, Any]:
    """One side's fields, float32 (batch, n, dimension), and numerics; None for none."""
    shared, table = sharing
    fields: list[Any] = []
    tabled: tuple[IdFeature | SequenceFeature, ...] = (*schema.id_features, *schema.sequence_features)
    for name, layer, names in (
        (f"{side}_table", None, [f.name for f in tabled if f.table_name not in shared]),
        (f"{side}_shared", table, [f.name for f in tabled if f.table_name in shared]),
    ):
        if names:
            fields += _looked_up(schema, inputs, names, dimension, name, layer)
    fields += vector_fields(schema, inputs, dimension, name=f"{side}_table")
    return join_fields(fields, name=side), numeric_columns(schema, inputs, name=f"{side}_numeric_transform")


def _looked_up(
    schema: Schema, inputs: Mapping[str, Any], names: Sequence[str], dimension: int, name: str, table: Any
) -> list[Any]:
    """Fields of the features that read one table."""
    part = narrow_schema(schema, names)
    columns = columns_of(schema, names, IdFeature)
    given = dict(inputs)
    if columns and len(columns) < len(schema.id_columns):
        given["ids"] = ColumnSelect(columns, name=f"{name}_columns")(inputs["ids"])
    found = look_up(part, given, dimension, name=name, table=table)
    ids = [] if found.ids is None else [found.ids]
    return ids + [pooled(given, found, feature, name=name) for feature in part.sequence_features]


def _stack(side: str, fields: Any, numerics: Any, hidden: Sequence[int], dropout: float) -> Any:
    """Dense ReLU layers; fields and numerics meet the first through a kernel each, as in `blocks.tower`."""
    flat = None if fields is None else keras.layers.Flatten(name=f"{side}_flat_fields")(fields)
    parts = {f"{side}_dense_0": flat, f"{side}_dense_0_numeric": numerics}
    given = {name: part for name, part in parts.items() if part is not None}
    projected = [keras.layers.Dense(hidden[0], name=name)(part) for name, part in given.items()]
    x = projected[0] if len(projected) == 1 else keras.layers.Add(name=f"{side}_dense_0_sum")(projected)
    for level, width in enumerate(hidden):
        x = keras.layers.Dense(width, name=f"{side}_dense_{level}")(x) if level else x
        x = keras.layers.Activation("relu", name=f"{side}_dense_{level}_relu")(x)
        x = keras.layers.Dropout(dropout, name=f"{side}_dropout_{level}")(x) if dropout else x
    return x
