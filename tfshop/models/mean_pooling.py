"""Averaged histories beside ids and a tower: what networks with attention have to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop.data.schema import Schema
from tfshop.layers import POOLINGS
from tfshop.models.blocks import click_inputs, click_model, numeric_columns, tower, vector_fields
from tfshop.models.checks import require_choice
from tfshop.models.lookup import look_up, pooled
from tfshop.models.sequences import all_fields, require_sequences


def build_mean_pooling(
    schema: Schema,
    *,
    dimension: int = 16,
    hidden: Sequence[int] = (400, 400, 400),
    dropout: float = 0.0,
    pooling: str = "mean",
) -> Any:
    """Pooled histories, ids and vectors side by side under a tower.

    With `pooling="mean"` it computes what `mlp` does; but it refuses a schema without a history, so that a comparison
    with networks that attend to one cannot lose it unnoticed, and it has the other poolings.

    Args:
        schema: Fitted schema with a `SequenceFeature`.
        dimension: Width of the embedding table.
        hidden: Widths of the tower.
        dropout: Share of units dropped while training, in [0, 1).
        pooling: "mean"; or "sum", which keeps how long a history is; or "sqrt", the sum over the root of the length.

    Returns:
        Functional model. Inputs: as `schema.input_specs()`. Output: `probability`, float32 (batch, 1).

    Raises:
        ModelError: For a schema without a sequence, or an unknown pooling.

    References:
        Covington et al., Deep Neural Networks for YouTube Recommendations, RecSys 2016.
    """
    require_choice("pooling", pooling, POOLINGS)
    sequences = require_sequences(schema, "mean_pooling")
    inputs = click_inputs(schema)
    looked_up = look_up(schema, inputs, dimension)
    fields = [] if looked_up.ids is None else [looked_up.ids]
    fields += [pooled(inputs, looked_up, feature, pooling=pooling) for feature in sequences]
    fields += vector_fields(schema, inputs, dimension)
    deep = tower(all_fields(fields), numeric_columns(schema, inputs), hidden, dropout=dropout)
    return click_model(inputs, [deep], name="mean_pooling")
