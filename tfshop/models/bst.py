"""Behaviour Sequence Transformer: behaviours and the candidate look at each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop._keras import keras
from tfshop.data.schema import Schema
from tfshop.errors import ModelError
from tfshop.layers import FieldSlice, HistoryAttention, MaskedMean, RecencyCodes, dense_per_field
from tfshop.models.blocks import click_inputs, click_model, numeric_columns, tower
from tfshop.models.checks import require_count
from tfshop.models.sequences import Behaviour, all_fields, embed_behaviours

EPSILON = 1e-6  # below 1e-5 Keras does not take its fused normalization, which needs shapes at run time


def build_bst(
    schema: Schema,
    *,
    dimension: int = 16,
    hidden: Sequence[int] = (400, 400, 400),
    dropout: float = 0.0,
    num_blocks: int = 1,
    num_heads: int = 2,
) -> Any:
    """Transformer blocks over each history with its candidate as the last token.

    The tower reads the candidate's output and the mean of the behaviours' outputs. The paper lays all outputs side by
    side: the tower would grow with the history's greatest length, and most of what it read would be padding.
    Positions are counted back from the candidate, where the paper has the time since.

    Args:
        schema: Fitted schema with a `SequenceFeature` and an `IdFeature` of one table.
        dimension: Width of the embedding table and of the blocks.
        hidden: Widths of the tower.
        dropout: Share of units dropped while training, in [0, 1); in the tower and behind each half of a block.
        num_blocks: Transformer blocks; the paper found one to be best.
        num_heads: Heads; they divide the dimension.

    Returns:
        Functional model. Inputs: as `schema.input_specs()`. Output: `probability`, float32 (batch, 1).

    Raises:
        ModelError: Where no history has an id feature of its table, or the heads do not divide the dimension.

    References:
        Chen et al., Behavior Sequence Transformer for E-commerce Recommendation in Alibaba, DLP-KDD 2019.
    """
    require_count("num_blocks", num_blocks)
    require_count("num_heads", num_heads)
    if dimension % num_heads:
        raise ModelError(
            f"num_heads is {num_heads} and dimension {dimension}. Expected heads that divide the dimension. "
            "Fix: num_heads=1, or dimension=16 with num_heads=2."
        )
    inputs = click_inputs(schema)
    embedded = embed_behaviours(schema, inputs, dimension, wanted_by="bst")
    fields = list(embedded.fields)
    for behaviour in embedded.behaviours:
        tokens = _tokens(behaviour)
        for number in range(num_blocks):
            tokens = _block(tokens, behaviour, number, num_heads, dropout)
        length = behaviour.ids.shape[1]
        history = FieldSlice(0, length, name=f"{behaviour.name}_outputs")(tokens)
        fields.append(FieldSlice(length, 1, name=f"{behaviour.name}_target_output")(tokens))
        fields.append(MaskedMean(name=f"{behaviour.name}_mean_output")([history, behaviour.ids]))
    deep = tower(all_fields(fields), numeric_columns(schema, inputs), hidden, dropout=dropout)
    return click_model(inputs, [deep], name="bst")


def _tokens(behaviour: Behaviour) -> Any:
    """History and candidate with their positions, float32 (batch, max_length + 1, dimension)."""
    name = behaviour.name
    tokens = keras.layers.Concatenate(axis=1, name=f"{name}_tokens")([behaviour.positions, behaviour.target])
    codes = RecencyCodes(name=f"{name}_recency")(behaviour.ids)
    places = dense_per_field(
        codes,
        tokens.shape[-1],
        name=f"{name}_places",
        use_bias=False,
        kernel_initializer=keras.initializers.RandomUniform(-0.05, 0.05),  # as the table's rows
    )
    return keras.layers.Add(name=f"{name}_placed")([tokens, places])


def _block(tokens: Any, behaviour: Behaviour, number: int, num_heads: int, dropout: float) -> Any:
    """Self-attention and a feed-forward layer at each position, both with residual and normalization."""
    name, width = f"{behaviour.name}_block_{number}", tokens.shape[-1]
    query, key, value = (
        dense_per_field(tokens, width, name=f"{name}_{part}", use_bias=False) for part in ("query", "key", "value")
    )
    attended = HistoryAttention(num_heads, name=f"{name}_attention")([query, key, value, behaviour.ids])
    mixed = dense_per_field(attended, width, name=f"{name}_heads", use_bias=False)
    tokens = _added(tokens, mixed, dropout, f"{name}_attended")
    wide = dense_per_field(tokens, 4 * width, name=f"{name}_wide")
    wide = keras.layers.LeakyReLU(0.1, name=f"{name}_wide_relu")(wide)
    narrow = dense_per_field(wide, width, name=f"{name}_narrow")
    return _added(tokens, narrow, dropout, f"{name}_fed")


def _added(tokens: Any, change: Any, dropout: float, name: str) -> Any:
    if dropout:
        change = keras.layers.Dropout(dropout, name=f"{name}_dropout")(change)
    added = keras.layers.Add(name=f"{name}_residual")([tokens, change])
    return keras.layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_normalized")(added)
