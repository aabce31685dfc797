"""The parts that networks of several targets share: inputs, experts behind a gate, a tower and an output a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tfshop._keras import keras
from tfshop.data.schema import Schema
from tfshop.errors import ModelError
from tfshop.layers import GatedSum
from tfshop.models.blocks import embed_fields, flat_fields, joint_dense, numeric_columns, packed_inputs, tower
from tfshop.models.checks import require_widths

Features = tuple[Any, Any]  # flat fields and numerics, either of which may be None


def target_inputs(schema: Schema, name: str) -> dict[str, Any]:
    """Keras inputs of a fitted schema of several targets, by name.

    Raises:
        ModelError: For a schema of one target, and one that is not fitted.
    """
    if len(schema.targets) < 2:  # noqa: PLR2004  (several)
        raise ModelError(
            f"{name} learns several targets, and the schema has one, {schema.target!r}. Expected at least two. "
            "Fix: Schema(…, target=('clicked', 'bought')), or a network of one target such as 'mlp'."
        )
    return packed_inputs(schema)


def features(schema: Schema, inputs: Mapping[str, Any], dimension: int) -> Features:
    """Embedded fields side by side, and numerics: what every expert and gate reads."""
    return flat_fields(embed_fields(schema, inputs, dimension)), numeric_columns(schema, inputs)


def short_names(schema: Schema) -> dict[str, str]:
    """Target to the word that names its layers."""
    return {target: output.removeprefix("probability_") for target, output in schema.outputs.items()}


def gated(gate_features: Features, experts: Sequence[Any], *, name: str) -> Any:
    """Experts (batch, width) mixed by a softmax gate that reads the features, float32 (batch, width)."""
    flat, numerics = gate_features
    parts = {"": flat, "_numeric": numerics}
    gate = joint_dense(parts, len(experts), name=f"gate_{name}", activation="softmax")
    joined = experts[0] if len(experts) == 1 else keras.layers.Concatenate(name=f"experts_{name}")(list(experts))
    return GatedSum(name=f"mixture_{name}")([joined, gate])


def target_outputs(schema: Schema, read: Mapping[str, Any], heads: Sequence[int]) -> list[Any]:
    """A tower, `logit_<target>` and `probability_<target>` for each target.

    Args:
        schema: Names the targets.
        read: Target to what its tower reads, float32 (batch, width).
        heads: Widths of each tower.

    Returns:
        Probabilities float32 (batch, 1), in the order of the targets.
    """
    require_widths("heads", heads)
    outputs = []
    for target, short in short_names(schema).items():
        deep = tower(read[target], None, heads, name=f"tower_{short}")
        logit = keras.layers.Dense(1, name=f"logit_{short}")(deep)
        outputs.append(keras.layers.Activation("sigmoid", name=schema.outputs[target])(logit))
    return outputs
