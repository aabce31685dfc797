"""The parts that click networks share: inputs, embedded fields, tower, head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tfshop._keras import keras
from tfshop.data.schema import Schema
from tfshop.data.vocabulary import NumericStatistics
from tfshop.errors import ModelError
from tfshop.layers import (
    Bias,
    FieldSum,
    NumericFields,
    NumericTransform,
    Reshaped,
    UnitLength,
)
from tfshop.models.checks import require_share, require_widths
from tfshop.models.lookup import look_up, pooled

OUTLIER_LIMIT = 5.0  # standard deviations


def click_inputs(schema: Schema) -> dict[str, Any]:
    """Keras inputs of a fitted schema, by name, in the order of `schema.input_specs()`.

    Raises:
        ModelError: For a schema that is not fitted: its vocabulary sizes are not known yet. For several targets;
            networks that learn several begin with `several.target_inputs`.
    """
    if len(schema.targets) > 1:
        raise ModelError(
            f"the schema has {len(schema.targets)} targets ({', '.join(schema.targets)}), and the network learns one. "
            "Expected one target. Fix: build_model('mmoe', …), 'shared_bottom', 'ple' or 'esmm'; or "
            f"Schema(…, target={schema.targets[0]!r})."
        )
    return packed_inputs(schema)


def packed_inputs(schema: Schema) -> dict[str, Any]:
    """As `click_inputs`, of a schema with any number of targets."""
    if not schema.is_fitted:
        raise ModelError(
            "the schema is not fitted, so the sizes of its tables are unknown. Expected the schema of prepared data. "
            "Fix: data = prepare(table, schema, split=...), then build_model(name, data.schema)."
        )
    return {
        name: keras.Input(shape=spec.shape, dtype=spec.dtype, name=name) for name, spec in schema.input_specs().items()
    }


def embed_fields(
    schema: Schema,
    inputs: Mapping[str, Any],
    dimension: int,
    *,
    name: str = "table",
    projection: str = "glorot_uniform",
) -> Any:
    """Look every id up in one merged table; sequences are averaged, vectors projected.

    Args:
        schema: Fitted schema.
        inputs: As `click_inputs` gives them.
        dimension: Width of the table.
        name: Name of the table's layer.
        projection: Keras initializer of the kernels that project vectors.

    Returns:
        float32 (batch, num_fields, dimension); fields in order: ids, sequences, vectors. None without any.
    """
    looked_up = look_up(schema, inputs, dimension, name=name)
    parts = [] if looked_up.ids is None else [looked_up.ids]
    parts += [pooled(inputs, looked_up, feature, name=name) for feature in schema.sequence_features]
    parts += vector_fields(schema, inputs, dimension, name=name, projection=projection)
    return join_fields(parts, name=name)


def join_fields(parts: Sequence[Any], *, name: str = "table") -> Any:
    """Fields (batch, n, dimension) one after the other; None for none."""
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else keras.layers.Concatenate(axis=1, name=f"{name}_fields")(list(parts))


def vector_fields(
    schema: Schema,
    inputs: Mapping[str, Any],
    dimension: int,
    *,
    name: str = "table",
    projection: str = "glorot_uniform",
) -> list[Any]:
    """Precomputed vectors, each projected to a field float32 (batch, 1, dimension).

    A vector is brought to length 1 first where its feature says so: then fields of all kinds start at one size,
    whoever made the vectors. A missing vector is zeros, and its field the projection's bias.
    """
    fields = []
    for vector in schema.vector_features:
        layer = f"{name}_{vector.input_name}"
        raw = inputs[vector.input_name]
        scaled = UnitLength(name=f"{layer}_unit_length")(raw) if vector.normalize else raw
        projected = keras.layers.Dense(dimension, kernel_initializer=projection, name=f"{layer}_projection")(scaled)
        fields.append(Reshaped((1, dimension), name=layer)(projected))
    return fields


def numeric_columns(schema: Schema, inputs: Mapping[str, Any], *, name: str = "numeric_transform") -> Any:
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
        **_clip_limits(statistics),
        name=name,
    )
    return layer(inputs["numeric"])


def with_numeric_fields(fields: Any, numerics: Any, dimension: int) -> Any:
    """The fields, and one more for each column of numerics, float32 (batch, num_fields, dimension)."""
    if numerics is None:
        return fields
    numeric = NumericFields(dimension, name="numeric_fields")(numerics)
    return numeric if fields is None else keras.layers.Concatenate(axis=1, name="fields")([fields, numeric])


def first_order_terms(schema: Schema, inputs: Mapping[str, Any], numerics: Any) -> list[Any]:
    """The linear part of a network: one weight an id, a vector's column or a number; tensors (batch, 1) to be added.

    Ids have their weights in a second table, `first_order`, of width 1; a sequence counts with the mean of its ids'.
    Numbers are linear only: what a network multiplies are fields. Their weights start at zero, since a kernel with few
    inputs would otherwise start with weights of about 1, and a linear part takes long to unlearn them.
    """
    terms = []
    weights = embed_fields(schema, inputs, 1, name="first_order", projection="zeros")
    if weights is not None:
        terms.append(FieldSum(name="first_order_term")(weights))
    if numerics is not None:
        terms.append(
            keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", name="first_order_numeric")(numerics)
        )
    return terms


def _clip_limits(statistics: Sequence[NumericStatistics]) -> dict[str, list[float]]:
    """What `NumericTransform` clips raw values to; nothing where no feature asks for it."""
    if all(s.low is None for s in statistics):
        return {}
    return {
        "low": [-float("inf") if s.low is None else s.low for s in statistics],
        "high": [float("inf") if s.high is None else s.high for s in statistics],
    }


def flat_fields(fields: Any) -> Any:
    """Fields side by side, float32 (batch, num_fields * dimension); None for None."""
    return None if fields is None else keras.layers.Flatten(name="flat_fields")(fields)


def flat_features(flat: Any, numerics: Any) -> Any:
    """Flat fields and numerics side by side, float32 (batch, width)."""
    parts = [part for part in (flat, numerics) if part is not None]
    return parts[0] if len(parts) == 1 else keras.layers.Concatenate(name="features")(parts)


def tower(
    flat: Any,
    numerics: Any,
    hidden: Sequence[int],
    *,
    dropout: float = 0.0,
    beside: Mapping[str, Any] = MappingProxyType({}),
    name: str = "dense",
) -> Any:
    """Dense ReLU layers of the given widths over flat fields and numerics, float32 (batch, hidden[-1]).

    The first layer reads fields and numerics through a kernel each and adds the two, which is the same as one
    kernel over both side by side. Side by side, int8 would give both one scale, and numerics of +-5 standard
    deviations would leave a table a handful of levels.

    Args:
        flat: Fields side by side; None without any.
        numerics: Scaled numerics; None without any.
        hidden: Widths.
        dropout: Share of units dropped while training, in [0, 1).
        beside: More tensors (batch, width) by name that the first layer reads, each through a kernel of its own.
        name: What the names of its layers begin with.

    Raises:
        ModelError: For no width, or one below 1.
    """
    require_widths("hidden", hidden)
    require_share("dropout", dropout)
    parts = {"": flat, "_numeric": numerics, **{f"_{part}": tensor for part, tensor in beside.items()}}
    x = joint_dense(parts, hidden[0], name=f"{name}_0")
    for level, width in enumerate(hidden):
        if level:
            x = keras.layers.Dense(width, activation="relu", name=f"{name}_{level}")(x)
        if dropout:
            x = keras.layers.Dropout(dropout, name=f"{name}_dropout_{level}".removeprefix("dense_"))(x)
    return x


def joint_dense(parts: Mapping[str, Any], width: int, *, name: str, activation: str = "relu") -> Any:
    """A dense layer with a kernel a part, float32 (batch, width); the bias is that of the first that is not None."""
    given = {part: tensor for part, tensor in parts.items() if tensor is not None}
    if len(given) == 1:
        return keras.layers.Dense(width, activation=activation, name=name)(next(iter(given.values())))
    projected = [
        keras.layers.Dense(width, use_bias=not position, name=f"{name}{part}")(tensor)
        for position, (part, tensor) in enumerate(given.items())
    ]
    added = keras.layers.Add(name=f"{name}_sum")(projected)
    return keras.layers.Activation(activation, name=f"{name}_{activation}")(added)


def click_model(inputs: Mapping[str, Any], parts: Sequence[Any], *, name: str, terms: Sequence[Any] = ()) -> Any:
    """Head of a click network: a `logit` layer over `parts`, plus ready-made `terms`, then `probability`.

    Args:
        inputs: Keras inputs by name.
        parts: Tensors (batch, width) that a linear layer reads; none for a network that is a sum of terms.
        name: Name of the model.
        terms: Tensors (batch, 1) that are added to the logit as they are, with a constant where there are no parts.
    """
    added = [*([_head(parts, "head_logit" if terms else "logit")] if parts else []), *terms]
    if not parts:
        added[0] = Bias(name="bias" if len(added) > 1 else "logit")(added[0])
    logit = added[0] if len(added) == 1 else keras.layers.Add(name="logit")(added)
    probability = keras.layers.Activation("sigmoid", name="probability")(logit)
    return keras.Model(inputs=dict(inputs), outputs=probability, name=name)


def _head(parts: Sequence[Any], name: str) -> Any:
    joined = parts[0] if len(parts) == 1 else keras.layers.Concatenate(name="head")(list(parts))
    return keras.layers.Dense(1, name=name)(joined)
