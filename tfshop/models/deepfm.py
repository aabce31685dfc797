"""DeepFM: a factorization machine and a tower over the same embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop.data.schema import Schema
from tfshop.layers import FactorizationMachine
from tfshop.models.blocks import (
    click_inputs,
    click_model,
    embed_fields,
    first_order_terms,
    flat_fields,
    numeric_columns,
    tower,
)


def build_deepfm(
    schema: Schema, *, dimension: int = 16, hidden: Sequence[int] = (400, 400, 400), dropout: float = 0.0
) -> Any:
    """First-order weights, pairwise products and a tower, added in the logit.

    Args:
        schema: Fitted schema.
        dimension: Width of the embedding table; a second table of width 1 holds the first-order weights.
        hidden: Widths of the tower.
        dropout: Share of units dropped while training, in [0, 1).

    Returns:
        Functional model. Inputs: as `schema.input_specs()`. Output: `probability`, float32 (batch, 1).

    References:
        Guo et al., DeepFM: A Factorization-Machine based Neural Network for CTR Prediction, IJCAI 2017.
    """
    inputs = click_inputs(schema)
    fields = embed_fields(schema, inputs, dimension)
    numerics = numeric_columns(schema, inputs)
    terms = first_order_terms(schema, inputs, numerics)
    if fields is not None:
        terms.append(FactorizationMachine(name="factorization")(fields))
    deep = tower(flat_fields(fields), numerics, hidden, dropout=dropout)
    return click_model(inputs, [deep], name="deepfm", terms=terms)
