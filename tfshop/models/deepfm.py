"""DeepFM: a factorization machine and a tower over the same embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop._keras import keras
from tfshop.data.schema import Schema
from tfshop.layers import FactorizationMachine, FieldSum
from tfshop.models.blocks import click_inputs, click_model, embed_fields, flat_fields, numeric_columns, tower


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
    terms = []
    if fields is not None:
        weights = embed_fields(schema, inputs, 1, name="first_order")
        terms.append(FieldSum(name="first_order_term")(weights))
        terms.append(FactorizationMachine(name="factorization")(fields))
    if numerics is not None:
        terms.append(keras.layers.Dense(1, use_bias=False, name="first_order_numeric")(numerics))
    deep = tower(flat_fields(fields), numerics, hidden, dropout=dropout)
    return click_model(inputs, [deep], name="deepfm", terms=terms)
