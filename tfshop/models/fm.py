"""Factorization machine: the dot products of all pairs of fields, and a linear part."""

from __future__ import annotations

from typing import Any

from tfshop.data.schema import Schema
from tfshop.layers import FactorizationMachine
from tfshop.models.blocks import (
    click_inputs,
    click_model,
    embed_fields,
    first_order_terms,
    numeric_columns,
)
from tfshop.models.checks import require_fields


def build_fm(schema: Schema, *, dimension: int = 16) -> Any:
    """First-order weights and all pairwise products, computed in linear time.

    Numbers enter the linear part only. A sequence is the mean of its ids' vectors, a vector feature is projected.

    Args:
        schema: Fitted schema with two fields or more.
        dimension: Width of the embedding table; a second table of width 1 holds the first-order weights.

    Returns:
        Functional model. Inputs: as `schema.input_specs()`. Output: `probability`, float32 (batch, 1).

    Raises:
        ModelError: For a schema with fewer than two fields.

    References:
        Rendle, Factorization Machines, ICDM 2010.
    """
    require_fields(schema, "fm")
    inputs = click_inputs(schema)
    fields = embed_fields(schema, inputs, dimension)
    linear = first_order_terms(schema, inputs, numeric_columns(schema, inputs))
    pairs = FactorizationMachine(name="factorization")(fields)
    return click_model(inputs, [], name="fm", terms=[*linear, pairs])
