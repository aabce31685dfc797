"""Embeddings and a tower: the network every other one is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop.data.schema import Schema
from tfshop.models.blocks import click_inputs, click_model, embed_fields, flat_fields, numeric_columns, tower


def build_mlp(
    schema: Schema, *, dimension: int = 16, hidden: Sequence[int] = (400, 400, 400), dropout: float = 0.0
) -> Any:
    """Embedding table and a fully connected tower.

    Args:
        schema: Fitted schema.
        dimension: Width of the embedding table.
        hidden: Widths of the tower.
        dropout: Share of units dropped while training, in [0, 1).

    Returns:
        Functional model. Inputs: as `schema.input_specs()`. Output: `probability`, float32 (batch, 1).

    References:
        Covington et al., Deep Neural Networks for YouTube Recommendations, RecSys 2016.
    """
    inputs = click_inputs(schema)
    flat = flat_fields(embed_fields(schema, inputs, dimension))
    deep = tower(flat, numeric_columns(schema, inputs), hidden, dropout=dropout)
    return click_model(inputs, [deep], name="mlp")
