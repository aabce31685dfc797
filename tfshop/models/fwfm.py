"""Field-weighted factorization machine: each pair of fields counts with a weight of its own."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras
from tfshop.data.schema import Schema
from tfshop.layers import InnerProducts
from tfshop.models.blocks import (
    click_inputs,
    click_model,
    embed_fields,
    first_order_terms,
    numeric_columns,
)
from tfshop.models.checks import require_fields


def build_fwfm(schema: Schema, *, dimension: int = 16) -> Any:
    """First-order weights and pairwise products, weighted by pair of fields.

    The weights of the pairs start at 1, which is a factorization machine. Numbers enter the linear part only.

    Args:
        schema: Fitted schema with two fields or more.
        dimension: Width of the embedding table; a second table of width 1 holds the first-order weights.

    Returns:
        Functional model. Inputs: as `schema.input_specs()`. Output: `probability`, float32 (batch, 1).

    Raises:
        ModelError: For a schema with fewer than two fields.

    References:
        Pan et al., Field-weighted Factorization Machines for Click-Through Rate Prediction in Display Advertising,
        WWW 2018.
    """
    require_fields(schema, "fwfm")
    inputs = click_inputs(schema)
    products = InnerProducts(name="inner_products")(embed_fields(schema, inputs, dimension))
    pairs = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", name="field_weights")(products)
    linear = first_order_terms(schema, inputs, numeric_columns(schema, inputs))
    return click_model(inputs, [], name="fwfm", terms=[*linear, pairs])
