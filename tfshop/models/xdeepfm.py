"""xDeepFM: vector-wise products of rising degree beside a tower and first-order weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop.data.schema import Schema
from tfshop.layers import interaction_network
from tfshop.models.blocks import (
    click_inputs,
    click_model,
    embed_fields,
    first_order_terms,
    flat_fields,
    numeric_columns,
    tower,
    with_numeric_fields,
)
from tfshop.models.checks import require_widths


def build_xdeepfm(
    schema: Schema,
    *,
    dimension: int = 16,
    maps: Sequence[int] = (64, 64),
    hidden: Sequence[int] = (400, 400, 400),
    dropout: float = 0.0,
) -> Any:
    """Compressed interaction network, tower and first-order weights, added in the logit.

    Args:
        schema: Fitted schema.
        dimension: Width of the embedding table; a second table of width 1 holds the first-order weights.
        maps: Feature maps of each layer of the interaction network. While training, a layer keeps
            `batch * dimension * maps * num_fields` products in memory.
        hidden: Widths of the tower.
        dropout: Share of units dropped while training, in [0, 1).

    Returns:
        Functional model. Inputs: as `schema.input_specs()`. Output: `probability`, float32 (batch, 1).

    Raises:
        ModelError: For no maps, or no hidden widths.

    References:
        Lian et al., xDeepFM: Combining Explicit and Implicit Feature Interactions for Recommender Systems, KDD 2018.
    """
    require_widths("maps", maps)
    inputs = click_inputs(schema)
    fields = embed_fields(schema, inputs, dimension)
    numerics = numeric_columns(schema, inputs)
    crossed = interaction_network(with_numeric_fields(fields, numerics, dimension), maps)
    deep = tower(flat_fields(fields), numerics, hidden, dropout=dropout)
    terms = first_order_terms(schema, inputs, numerics)
    return click_model(inputs, [crossed, deep], name="xdeepfm", terms=terms)
