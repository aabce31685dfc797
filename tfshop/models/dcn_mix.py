"""Deep & Cross Network v2 with low-rank crosses, each a mixture of experts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop.data.schema import Schema
from tfshop.layers import mixture_cross_stack
from tfshop.models.blocks import (
    click_inputs,
    click_model,
    embed_fields,
    flat_features,
    flat_fields,
    numeric_columns,
    tower,
)
from tfshop.models.checks import require_count


def build_dcn_mix(
    schema: Schema,
    *,
    dimension: int = 16,
    num_crosses: int = 3,
    num_experts: int = 4,
    rank: int = 32,
    hidden: Sequence[int] = (400, 400, 400),
    dropout: float = 0.0,
) -> Any:
    """Low-rank crosses with gated experts beside a tower.

    Args:
        schema: Fitted schema.
        dimension: Width of the embedding table.
        num_crosses: Cross layers; each adds one degree.
        num_experts: Experts of each cross.
        rank: Width of an expert; a quarter of the input's or less makes it cheaper than `dcn`.
        hidden: Widths of the tower.
        dropout: Share of units dropped while training, in [0, 1).

    Returns:
        Functional model. Inputs: as `schema.input_specs()`. Output: `probability`, float32 (batch, 1).

    Raises:
        ModelError: For a hyperparameter out of range.

    References:
        Wang et al., DCN V2: Improved Deep & Cross Network, WWW 2021, section 3.3.
    """
    require_count("num_experts", num_experts)
    require_count("rank", rank)
    inputs = click_inputs(schema)
    flat = flat_fields(embed_fields(schema, inputs, dimension))
    numerics = numeric_columns(schema, inputs)
    crossed = mixture_cross_stack(flat_features(flat, numerics), num_crosses, num_experts=num_experts, rank=rank)
    deep = tower(flat, numerics, hidden, dropout=dropout)
    return click_model(inputs, [crossed, deep], name="dcn_mix")
