"""Shared bottom: several targets behind one representation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop._keras import keras
from tfshop.data.schema import Schema
from tfshop.models.blocks import tower
from tfshop.models.several import features, target_inputs, target_outputs


def build_shared_bottom(
    schema: Schema,
    *,
    dimension: int = 16,
    hidden: Sequence[int] = (400, 400),
    heads: Sequence[int] = (64,),
    dropout: float = 0.0,
) -> Any:
    """One tower for all targets, and a small one for each on top.

    Args:
        schema: Fitted schema of several targets.
        dimension: Width of the embedding table.
        hidden: Widths of the shared tower.
        heads: Widths of each target's tower.
        dropout: Share of units dropped while training, in [0, 1).

    Returns:
        Functional model. Inputs: as `schema.input_specs()`. Outputs: `probability_<target>`, float32 (batch, 1), a
        list in the order of the targets.

    References:
        Caruana, Multitask Learning, Machine Learning 1997.
    """
    inputs = target_inputs(schema, "shared_bottom")
    shared = tower(*features(schema, inputs, dimension), hidden, dropout=dropout)
    outputs = target_outputs(schema, dict.fromkeys(schema.targets, shared), heads)
    return keras.Model(inputs=inputs, outputs=outputs, name="shared_bottom")
