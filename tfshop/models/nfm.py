"""Neural factorization machine: a tower over the pooled products of all pairs of fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop.data.schema import Schema
from tfshop.layers import BiInteraction
from tfshop.models.blocks import (
    click_inputs,
    click_model,
    embed_fields,
    first_order_terms,
    numeric_columns,
    tower,
)
from tfshop.models.checks import require_fields


def build_nfm(
    schema: Schema, *, dimension: int = 16, hidden: Sequence[int] = (400, 400, 400), dropout: float = 0.0
) -> Any:
    """First-order weights, and a tower over the sum of the element-wise products of all pairs.

    Numbers enter the linear part, and the tower beside the products.

    Args:
        schema: Fitted schema with two fields or more.
        dimension: Width of the embedding table; a second table of width 1 holds the first-order weights.
        hidden: Widths of the tower.
        dropout: Share of units dropped while training, in [0, 1).

    Returns:
        Functional model. Inputs: as `schema.input_specs()`. Output: `probability`, float32 (batch, 1).

    Raises:
        ModelError: For a schema with fewer than two fields.

    References:
        He & Chua, Neural Factorization Machines for Sparse Predictive Analytics, SIGIR 2017.
    """
    require_fields(schema, "nfm")
    inputs = click_inputs(schema)
    pooled = BiInteraction(name="bi_interaction")(embed_fields(schema, inputs, dimension))
    numerics = numeric_columns(schema, inputs)
    deep = tower(pooled, numerics, hidden, dropout=dropout)
    return click_model(inputs, [deep], name="nfm", terms=first_order_terms(schema, inputs, numerics))
