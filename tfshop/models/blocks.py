"""The parts that click networks share: inputs, embedded fields, tower, head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tfshop._keras import keras
from tfshop.data.schema import Schema
from tfshop.errors import ModelError
from tfshop.layers import FieldOffsets, FieldSlice, MaskedMean, NumericTransform

OUTLIER_LIMIT = 5.0  # standard deviations


def click_inputs(schema: Schema) -> dict[str, Any]:
    """Keras inputs of a fitted schema, by name, in the order of `schema.input_specs()`.

    Raises:
        ModelError: For a schema that is not fitted: its vocabulary sizes are not known yet.
    """
    if not schema.is_fitted:
        raise ModelError(
            "the schema is not fitted, so the sizes of its tables are unknown. Expected the schema of prepared data. "
            "Fix: data = prepare(table, schema, split=...), then build_model(name, data.schema)."
        )
    return {
        name: keras.Input(shape=spec.shape, dtype=spec.dtype, name=name) for name, spec in schema.input_specs().items()
    }


def embed_fields(schema: Schema, inputs: Mapping[str, Any], dimension: int, *, name: str = "table") -> Any:
    """Look every id up in one merged table; sequences are averaged, vectors projected.

    Args:
        schema: Fitted schema.
        inputs: As `click_inputs` gives them.
        dimension: Width of the table.
        name: Name of the table's layer.

    Returns:
        float32 (batch, num_fields, dimension); fields in order: ids, sequences, vectors. None without any.
    """
    parts = [*_looked_up_fields(schema, inputs, dimension, name)]
    for vector in schema.vector_features:
        layer = f"{name}_{vector.input_name}"
        projected = keras.layers.Dense(dimension, name=f"{layer}_projection")(inputs[vector.input_name])
        parts.append(keras.layers.Reshape((1, dimension), name=layer)(projected))
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else keras.layers.Concatenate(axis=1, name=f"{name}_fields")(parts)


def _looked_up_fields(schema: Schema, inputs: Mapping[str, Any], dimension: int, name: str) -> Iterator[Any]:
    """Ids and sequences through a single lookup: an int8 converter copies a table for each lookup it feeds."""
    if not schema.tables:
        return
    starts = table_starts(schema)
    ids, offsets = [], []
    if schema.id_features:
        ids.append(inputs["ids"])
        offsets += [starts[feature.table_name] for feature in schema.id_features]
    for feature in schema.sequence_features:
        ids.append(inputs[feature.input_name])
        offsets += [starts[feature.table_name]] * feature.max_length
    joined = ids[0] if len(ids) == 1 else keras.layers.Concatenate(name=f"{name}_ids")(ids)
    rows = FieldOffsets(offsets, name=f"{name}_rows")(joined)
    embedded = keras.layers.Embedding(sum(schema.tables.values()), dimension, name=name)(rows)
    if not schema.sequence_features:
        yield embedded
        return
    position = len(schema.id_features)
    if position:
        yield FieldSlice(0, position, name=f"{name}_id_fields")(embedded)
    for feature in schema.sequence_features:
        layer = f"{name}_{feature.input_name}"
        sequence = FieldSlice(position, feature.max_length, name=layer)(embedded)
        yield MaskedMean(name=f"{layer}_mean")([sequence, inputs[feature.input_name]])
        position += feature.max_length


def table_starts(schema: Schema) -> dict[str, int]:
    """First row of each table inside the merged one."""
    sizes = list(schema.tables.values())
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return {table: int(start) for table, start in zip(schema.tables, starts, strict=False)}


def numeric_columns(schema: Schema, inputs: Mapping[str, Any]) -> Any:
    """Imputed and scaled numerics, float32 (batch, num_columns); None without numeric features."""
    if not schema.numeric_features:
        return None
    statistics = [schema.statistics[feature.name] for feature in schema.numeric_features]
    transforms = [feature.transform for feature in schema.numeric_features]
    scaled = [transform != "none" for transform in transforms]
    layer = NumericTransform(
        logarithmic=[transform == "log1p" for transform in transforms],
        center=[s.mean if flag else 0.0 for s, flag in zip(statistics, scaled, strict=True)],
        scale=[
            1.0 / max(s.standard_deviation, 1e-6) if flag else 1.0 for s, flag in zip(statistics, scaled, strict=True)
        ],
        fill=[0.0 if flag else s.mean for s, flag in zip(statistics, scaled, strict=True)],
        limit=[OUTLIER_LIMIT if flag else float("inf") for flag in scaled],
        indicators=[position for position, s in enumerate(statistics) if s.missing],
        name="numeric_transform",
    )
    return layer(inputs["numeric"])


def flat_fields(fields: Any) -> Any:
    """Fields side by side, float32 (batch, num_fields * dimension); None for None."""
    return None if fields is None else keras.layers.Flatten(name="flat_fields")(fields)


def flat_features(flat: Any, numerics: Any) -> Any:
    """Flat fields and numerics side by side, float32 (batch, width)."""
    parts = [part for part in (flat, numerics) if part is not None]
    return parts[0] if len(parts) == 1 else keras.layers.Concatenate(name="features")(parts)


def tower(flat: Any, numerics: Any, hidden: Sequence[int], *, dropout: float = 0.0) -> Any:
    """Dense ReLU layers of the given widths over flat fields and numerics, float32 (batch, hidden[-1]).

    The first layer reads fields and numerics through a kernel each and adds the two, which is the same as one
    kernel over both side by side. Side by side, int8 would give both one scale, and numerics of +-5 standard
    deviations would leave a table a handful of levels.

    Raises:
        ModelError: For no width, or one below 1.
    """
    widths = hidden if isinstance(hidden, Sequence) else ()
    if not widths or any(not isinstance(width, int) or width < 1 for width in widths):
        raise ModelError(f"hidden is {hidden!r}. Expected widths of at least 1. Fix: hidden=(400, 400, 400).")
    if not 0 <= dropout < 1:
        raise ModelError(f"dropout is {dropout!r}. Expected a share in [0, 1). Fix: dropout=0.2.")
    x = _first_layer(flat, numerics, hidden[0])
    for level, width in enumerate(hidden):
        if level:
            x = keras.layers.Dense(width, activation="relu", name=f"dense_{level}")(x)
        if dropout:
            x = keras.layers.Dropout(dropout, name=f"dropout_{level}")(x)
    return x


def _first_layer(flat: Any, numerics: Any, width: int) -> Any:
    if flat is None or numerics is None:
        return keras.layers.Dense(width, activation="relu", name="dense_0")(numerics if flat is None else flat)
    from_fields = keras.layers.Dense(width, name="dense_0")(flat)
    from_numerics = keras.layers.Dense(width, use_bias=False, name="dense_0_numeric")(numerics)
    added = keras.layers.Add(name="dense_0_sum")([from_fields, from_numerics])
    return keras.layers.Activation("relu", name="dense_0_relu")(added)


def click_model(inputs: Mapping[str, Any], parts: Sequence[Any], *, name: str, terms: Sequence[Any] = ()) -> Any:
    """Head of a click network: a `logit` layer over `parts`, plus ready-made `terms`, then `probability`.

    Args:
        inputs: Keras inputs by name.
        parts: Tensors (batch, width) that a linear layer reads.
        name: Name of the model.
        terms: Tensors (batch, 1) that are added to the logit as they are.
    """
    joined = parts[0] if len(parts) == 1 else keras.layers.Concatenate(name="head")(list(parts))
    logit = keras.layers.Dense(1, name="head_logit" if terms else "logit")(joined)
    if terms:
        logit = keras.layers.Add(name="logit")([logit, *terms])
    probability = keras.layers.Activation("sigmoid", name="probability")(logit)
    return keras.Model(inputs=dict(inputs), outputs=probability, name=name)
