"""AutoInt: self-attention among the fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop.data.schema import Schema
from tfshop.layers import Reshaped, attend
from tfshop.models.blocks import (
    click_inputs,
    click_model,
    embed_fields,
    flat_fields,
    numeric_columns,
    tower,
    with_numeric_fields,
)
from tfshop.models.checks import require_count, require_embedded


def build_autoint(
    schema: Schema,
    *,
    dimension: int = 16,
    num_layers: int = 3,
    num_heads: int = 2,
    head_width: int = 32,
    hidden: Sequence[int] = (400, 400, 400),
    dropout: float = 0.0,
) -> Any:
    """Interacting layers over all fields, numbers among them, beside a tower: AutoInt+.

    Args:
        schema: Fitted schema.
        dimension: Width of the embedding table.
        num_layers: Interacting layers.
        num_heads: Attention heads of each.
        head_width: Width of a head.
        hidden: Widths of the tower; () for none, which is AutoInt without the plus.
        dropout: Share of the tower's units dropped while training, in [0, 1).

    Returns:
        Functional model. Inputs: as `schema.input_specs()`. Output: `probability`, float32 (batch, 1).

    Raises:
        ModelError: For a schema with less than two fields, or a count below 1.

    References:
        Song et al., AutoInt: Automatic Feature Interaction Learning via Self-Attentive Neural Networks, CIKM 2019.
    """
    for name, value in (("num_layers", num_layers), ("num_heads", num_heads), ("head_width", head_width)):
        require_count(name, value)
    inputs = click_inputs(schema)
    ids = embed_fields(schema, inputs, dimension)
    numerics = numeric_columns(schema, inputs)
    fields = with_numeric_fields(ids, numerics, dimension)
    require_embedded("autoint", fields, fewest=2)  # a field alone attends to nothing but itself
    rows = Reshaped((dimension,), name="attention_rows")(fields)
    for level in range(num_layers):
        rows = attend(rows, fields.shape[1], width=head_width, num_heads=num_heads, name=f"attention_{level}")
    parts = [Reshaped((fields.shape[1] * rows.shape[-1],), name="attended")(rows)]
    if hidden:
        parts.append(tower(flat_fields(ids), numerics, hidden, dropout=dropout))
    return click_model(inputs, parts, name="autoint")
