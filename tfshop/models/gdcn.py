"""Gated Deep & Cross Network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop.data.schema import Schema
from tfshop.layers import gated_cross_stack
from tfshop.models.blocks import (
    click_inputs,
    click_model,
    embed_fields,
    flat_features,
    flat_fields,
    numeric_columns,
    tower,
)
from tfshop.models.checks import require_choice, require_count

STRUCTURES = ("parallel", "stacked")


def build_gdcn(
    schema: Schema,
    *,
    dimension: int = 16,
    num_crosses: int = 3,
    structure: str = "parallel",
    hidden: Sequence[int] = (400, 400, 400),
    dropout: float = 0.0,
) -> Any:
    """Gated crosses beside a tower, or under it.

    Args:
        schema: Fitted schema.
        dimension: Width of the embedding table.
        num_crosses: Cross layers; each adds one degree.
        structure: "parallel": GDCN-P, the tower reads the fields; "stacked": GDCN-S, it reads the crosses.
        hidden: Widths of the tower.
        dropout: Share of the tower's units dropped while training, in [0, 1).

    Returns:
        Functional model. Inputs: as `schema.input_specs()`. Output: `probability`, float32 (batch, 1).

    Raises:
        ModelError: For an unknown structure, or no cross.

    References:
        Wang et al., Towards Deeper, Lighter and Interpretable Cross Network for CTR Prediction, CIKM 2023.
    """
    require_choice("structure", structure, STRUCTURES)
    require_count("num_crosses", num_crosses)
    inputs = click_inputs(schema)
    flat = flat_fields(embed_fields(schema, inputs, dimension))
    numerics = numeric_columns(schema, inputs)
    crossed = gated_cross_stack(flat_features(flat, numerics), num_crosses)
    if structure == "stacked":
        return click_model(inputs, [tower(crossed, None, hidden, dropout=dropout)], name="gdcn")
    deep = tower(flat, numerics, hidden, dropout=dropout)
    return click_model(inputs, [crossed, deep], name="gdcn")
