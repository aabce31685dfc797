"""Attentional factorization machine: a small network says how much each pair of fields matters."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras
from tfshop.data.schema import Schema
from tfshop.layers import AttentionSum, PairwiseProducts, Reshaped
from tfshop.models.blocks import (
    click_inputs,
    click_model,
    embed_fields,
    first_order_terms,
    numeric_columns,
)
from tfshop.models.checks import require_count, require_fields, require_share


def build_afm(schema: Schema, *, dimension: int = 16, attention_width: int = 16, dropout: float = 0.0) -> Any:
    """First-order weights, and the element-wise products of all pairs in a mean that attention weighs.

    Numbers enter the linear part only.

    Args:
        schema: Fitted schema with two fields or more.
        dimension: Width of the embedding table; a second table of width 1 holds the first-order weights.
        attention_width: Units that read a product before it gets its score.
        dropout: Share of the pooled products dropped while training, in [0, 1).

    Returns:
        Functional model. Inputs: as `schema.input_specs()`. Output: `probability`, float32 (batch, 1).

    Raises:
        ModelError: For a schema with fewer than two fields, or a hyperparameter out of range.

    References:
        Xiao et al., Attentional Factorization Machines: Learning the Weight of Feature Interactions via Attention
        Networks, IJCAI 2017.
    """
    require_fields(schema, "afm")
    require_count("attention_width", attention_width)
    require_share("dropout", dropout)
    inputs = click_inputs(schema)
    products = PairwiseProducts(name="pairwise_products")(embed_fields(schema, inputs, dimension))
    rows = Reshaped((dimension,), name="one_row_a_pair")(products)  # a matrix product of two axes is one operator
    hidden = keras.layers.Dense(attention_width, activation="relu", name="attention")(rows)
    scores = keras.layers.Dense(1, use_bias=False, name="attention_score")(hidden)
    pooled = AttentionSum(name="attention_sum")([scores, products])
    if dropout:
        pooled = keras.layers.Dropout(dropout, name="dropout")(pooled)
    linear = first_order_terms(schema, inputs, numeric_columns(schema, inputs))
    return click_model(inputs, [pooled], name="afm", terms=linear)
