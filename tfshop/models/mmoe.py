"""Multi-gate Mixture-of-Experts: targets choose what they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop._keras import keras
from tfshop.data.schema import Schema
from tfshop.models.blocks import tower
from tfshop.models.checks import require_count
from tfshop.models.several import features, gated, short_names, target_inputs, target_outputs


def build_mmoe(
    schema: Schema,
    *,
    dimension: int = 16,
    num_experts: int = 4,
    hidden: Sequence[int] = (256, 128),
    heads: Sequence[int] = (64,),
    dropout: float = 0.0,
) -> Any:
    """Experts that all targets share, mixed for each target by a gate of its own.

    Args:
        schema: Fitted schema of several targets.
        dimension: Width of the embedding table.
        num_experts: Experts.
        hidden: Widths of each expert.
        heads: Widths of each target's tower.
        dropout: Share of units dropped while training, in [0, 1).

    Returns:
        Functional model. Inputs: as `schema.input_specs()`. Outputs: `probability_<target>`, float32 (batch, 1), a
        list in the order of the targets.

    References:
        Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts, KDD 2018.
    """
    require_count("num_experts", num_experts)
    inputs = target_inputs(schema, "mmoe")
    read = features(schema, inputs, dimension)
    experts = [tower(*read, hidden, dropout=dropout, name=f"expert_{number}") for number in range(num_experts)]
    mixed = {target: gated(read, experts, name=short) for target, short in short_names(schema).items()}
    return keras.Model(inputs=inputs, outputs=target_outputs(schema, mixed, heads), name="mmoe")
