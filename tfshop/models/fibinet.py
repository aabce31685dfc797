"""FiBiNET: fields weighted by importance, and bilinear products of all their pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop._keras import keras
from tfshop.data.schema import Schema
from tfshop.layers import bilinear_pairs, squeeze_excitation
from tfshop.layers.bilinear import BILINEAR_KINDS
from tfshop.models.blocks import (
    click_inputs,
    click_model,
    embed_fields,
    first_order_terms,
    numeric_columns,
    tower,
    with_numeric_fields,
)
from tfshop.models.checks import require_choice, require_count, require_embedded


def build_fibinet(
    schema: Schema,
    *,
    dimension: int = 16,
    bilinear: str = "all",
    reduction: int = 3,
    hidden: Sequence[int] = (400, 400, 400),
    dropout: float = 0.0,
) -> Any:
    """Bilinear products of the fields, and of the fields weighted by importance, into a tower; first-order weights.

    The tower's first kernel has `num_fields * (num_fields - 1) * dimension` rows.

    Args:
        schema: Fitted schema.
        dimension: Width of the embedding table; a second table of width 1 holds the first-order weights.
        bilinear: "all": one matrix; "each": one a field; "interaction": one a pair.
        reduction: Number of fields over units of the inner excitation layer.
        hidden: Widths of the tower.
        dropout: Share of units dropped while training, in [0, 1).

    Returns:
        Functional model. Inputs: as `schema.input_specs()`. Output: `probability`, float32 (batch, 1).

    Raises:
        ModelError: For a schema with less than two fields, or an unknown kind of bilinear product.

    References:
        Huang et al., FiBiNET: Combining Feature Importance and Bilinear feature Interaction for Click-Through Rate
        Prediction, RecSys 2019.
    """
    require_choice("bilinear", bilinear, BILINEAR_KINDS)
    require_count("reduction", reduction)
    inputs = click_inputs(schema)
    numerics = numeric_columns(schema, inputs)
    fields = with_numeric_fields(embed_fields(schema, inputs, dimension), numerics, dimension)
    require_embedded("fibinet", fields, fewest=2)
    plain = bilinear_pairs(fields, bilinear, name="pairs")
    weighted = bilinear_pairs(squeeze_excitation(fields, reduction), bilinear, name="weighted_pairs")
    pairs = keras.layers.Concatenate(axis=1, name="all_pairs")([plain, weighted])
    deep = tower(keras.layers.Flatten(name="flat_pairs")(pairs), numerics, hidden, dropout=dropout)
    return click_model(inputs, [deep], name="fibinet", terms=first_order_terms(schema, inputs, numerics))
