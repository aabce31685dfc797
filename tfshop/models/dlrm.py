"""DLRM: dot products of all pairs of embeddings, the numbers' among them, under a tower."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop._keras import keras
from tfshop.data.schema import Schema
from tfshop.layers import InnerProducts
from tfshop.models.blocks import click_inputs, click_model, embed_fields, numeric_columns, tower
from tfshop.models.checks import require_embedded


def build_dlrm(
    schema: Schema,
    *,
    dimension: int = 16,
    bottom: Sequence[int] = (64,),
    hidden: Sequence[int] = (400, 400, 400),
    dropout: float = 0.0,
) -> Any:
    """A bottom tower makes one more field of the numbers; dot products of all pairs of fields; a top tower.

    Args:
        schema: Fitted schema.
        dimension: Width of the embedding table.
        bottom: Widths of the bottom tower; a layer as wide as the table follows.
        hidden: Widths of the top tower, which reads the products and what the bottom tower gives.
        dropout: Share of the top tower's units dropped while training, in [0, 1).

    Returns:
        Functional model. Inputs: as `schema.input_specs()`. Output: `probability`, float32 (batch, 1).

    Raises:
        ModelError: For a schema with less than two fields, all numbers together being one.

    References:
        Naumov et al., Deep Learning Recommendation Model for Personalization and Recommendation Systems, 2019.
    """
    inputs = click_inputs(schema)
    fields = embed_fields(schema, inputs, dimension)
    numerics = numeric_columns(schema, inputs)
    bottom_field = None
    if numerics is not None:
        bottom_field = tower(None, numerics, (*bottom, dimension), name="bottom")
        as_field = keras.layers.Reshape((1, dimension), name="bottom_field")(bottom_field)
        parts = [part for part in (as_field, fields) if part is not None]
        fields = parts[0] if len(parts) == 1 else keras.layers.Concatenate(axis=1, name="fields")(parts)
    require_embedded("dlrm", fields, fewest=2)
    deep = tower(InnerProducts(name="dots")(fields), bottom_field, hidden, dropout=dropout)
    return click_model(inputs, [deep], name="dlrm")
