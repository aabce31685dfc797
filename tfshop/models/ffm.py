"""Field-aware factorization machine: each id has a vector for each field it meets."""

from __future__ import annotations

from typing import Any

from tfshop.data.schema import Schema
from tfshop.layers import FieldAwareProducts
from tfshop.models.blocks import (
    click_inputs,
    click_model,
    embed_fields,
    first_order_terms,
    numeric_columns,
)
from tfshop.models.checks import num_fields, require_fields


def build_ffm(schema: Schema, *, dimension: int = 4) -> Any:
    """First-order weights and field-aware pairwise products, from one lookup in one wide table.

    A row of the table is `(num_fields - 1) * dimension` wide: with 26 fields, dimension 4 is the size of a table of
    width 100. Numbers enter the linear part only.

    Args:
        schema: Fitted schema with two fields or more.
        dimension: Width of one of an id's vectors; a second table of width 1 holds the first-order weights.

    Returns:
        Functional model. Inputs: as `schema.input_specs()`. Output: `probability`, float32 (batch, 1).

    Raises:
        ModelError: For a schema with fewer than two fields.

    References:
        Juan et al., Field-aware Factorization Machines for CTR Prediction, RecSys 2016.
    """
    require_fields(schema, "ffm")
    inputs = click_inputs(schema)
    fields = embed_fields(schema, inputs, (num_fields(schema) - 1) * dimension)
    linear = first_order_terms(schema, inputs, numeric_columns(schema, inputs))
    pairs = FieldAwareProducts(dimension, name="field_aware_products")(fields)
    return click_model(inputs, [], name="ffm", terms=[*linear, pairs])
