"""Wide & Deep: a linear model with crosses that remembers, beside a tower that generalizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop._keras import keras
from tfshop.data.schema import Schema
from tfshop.errors import ModelError
from tfshop.layers import FieldSum, IdCrosses
from tfshop.models.blocks import (
    click_inputs,
    click_model,
    embed_fields,
    first_order_terms,
    flat_fields,
    numeric_columns,
    tower,
)
from tfshop.models.checks import require_count


def build_wide_deep(
    schema: Schema,
    *,
    dimension: int = 16,
    hidden: Sequence[int] = (400, 400, 400),
    dropout: float = 0.0,
    crosses: Sequence[tuple[str, str]] = (),
    cross_buckets: int = 10_000,
) -> Any:
    """First-order weights, a weight for each chosen pair of ids, and a tower.

    Args:
        schema: Fitted schema.
        dimension: Width of the embedding table; a second table of width 1 holds the first-order weights.
        hidden: Widths of the tower.
        dropout: Share of units dropped while training, in [0, 1).
        crosses: Pairs of id features whose combinations get a weight each, such as `[("user", "shop")]`.
        cross_buckets: Most weights of one cross; a cross with more combinations shares them.

    Returns:
        Functional model. Inputs: as `schema.input_specs()`. Output: `probability`, float32 (batch, 1).

    Raises:
        ModelError: For a cross of what is no id feature, or a hyperparameter out of range.

    References:
        Cheng et al., Wide & Deep Learning for Recommender Systems, DLRS 2016.
    """
    inputs = click_inputs(schema)
    numerics = numeric_columns(schema, inputs)
    wide = first_order_terms(schema, inputs, numerics)
    if crosses:
        wide.append(_cross_term(schema, inputs, crosses, cross_buckets))
    deep = tower(flat_fields(embed_fields(schema, inputs, dimension)), numerics, hidden, dropout=dropout)
    return click_model(inputs, [deep], name="wide_deep", terms=wide)


def _cross_term(schema: Schema, inputs: Any, crosses: Sequence[tuple[str, str]], cross_buckets: int) -> Any:
    """The sum of the weights of all crosses, (batch, 1)."""
    require_count("cross_buckets", cross_buckets)
    names = [feature.name for feature in schema.id_columns]  # of an id with several hashes, the first one is crossed
    for pair in crosses:
        if not _is_pair_of(names, pair):
            raise ModelError(
                f"crosses has {pair!r}. Expected pairs of two different id features out of "
                f"{', '.join(dict.fromkeys(names))}. Fix: crosses=[('user', 'shop')]."
            )
    sizes = [schema.tables[feature.table_name] for feature in schema.id_columns]
    left, right = ([names.index(name) for name in side] for side in zip(*crosses, strict=True))
    layer = IdCrosses(
        left, right, [(sizes[i], sizes[j]) for i, j in zip(left, right, strict=True)], cross_buckets, name="cross_rows"
    )
    weights = keras.layers.Embedding(layer.num_rows, 1, name="cross_weights")(layer(inputs["ids"]))
    return FieldSum(name="cross_term")(weights)


def _is_pair_of(names: Sequence[str], pair: Any) -> bool:
    match pair:
        case (left, right):
            return left != right and {left, right} <= set(names)
    return False
