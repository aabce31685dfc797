"""The first Deep & Cross Network: crosses with a vector each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop.data.schema import Schema
from tfshop.layers import vector_cross_stack
from tfshop.models.blocks import (
    click_inputs,
    click_model,
    embed_fields,
    flat_features,
    flat_fields,
    numeric_columns,
    tower,
)


def build_dcn_vector(
    schema: Schema,
    *,
    dimension: int = 16,
    num_crosses: int = 3,
    hidden: Sequence[int] = (400, 400, 400),
    dropout: float = 0.0,
) -> Any:
    """Crosses of two vectors each beside a tower.

    Args:
        schema: Fitted schema.
        dimension: Width of the embedding table.
        num_crosses: Cross layers; each adds one degree.
        hidden: Widths of the tower.
        dropout: Share of units dropped while training, in [0, 1).

    Returns:
        Functional model. Inputs: as `schema.input_specs()`. Output: `probability`, float32 (batch, 1).

    References:
        Wang et al., Deep & Cross Network for Ad Click Predictions, ADKDD 2017.
    """
    inputs = click_inputs(schema)
    flat = flat_fields(embed_fields(schema, inputs, dimension))
    numerics = numeric_columns(schema, inputs)
    crossed = vector_cross_stack(flat_features(flat, numerics), num_crosses)
    deep = tower(flat, numerics, hidden, dropout=dropout)
    return click_model(inputs, [crossed, deep], name="dcn_vector")
