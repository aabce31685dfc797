"""MaskNet: layers whose inputs are multiplied by masks that the whole example decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop._keras import keras
from tfshop.data.schema import Schema
from tfshop.layers import mask_block
from tfshop.layers.mask_block import normalized
from tfshop.models.blocks import (
    click_inputs,
    click_model,
    embed_fields,
    flat_fields,
    joint_dense,
    numeric_columns,
    tower,
)
from tfshop.models.checks import require_choice, require_count, require_positive, require_share, require_widths

STRUCTURES = ("parallel", "serial")


def build_masknet(
    schema: Schema,
    *,
    dimension: int = 16,
    structure: str = "parallel",
    num_blocks: int = 3,
    block_width: int = 64,
    reduction: float = 2.0,
    hidden: Sequence[int] = (400, 400, 400),
    dropout: float = 0.0,
) -> Any:
    """Mask blocks side by side under a tower, or one after the other.

    Every embedding is normalized over its elements. Numbers are not: they are scaled already, and normalized alone
    a number would keep its sign and nothing else.

    Args:
        schema: Fitted schema.
        dimension: Width of the embedding table, at least 2: a single element cannot be normalized.
        structure: "parallel": `num_blocks` blocks of `block_width` read the fields, a tower reads the blocks;
            "serial": one block for each width in `hidden`, each reading the one before.
        num_blocks: Blocks side by side; the serial structure has one for each width.
        block_width: Width of a block; the serial structure takes the widths in `hidden`.
        reduction: Width of a mask's inner layer over the width of the mask.
        hidden: Widths of the tower, or of the serial blocks.
        dropout: Share of units dropped while training, in [0, 1).

    Returns:
        Functional model. Inputs: as `schema.input_specs()`. Output: `probability`, float32 (batch, 1).

    Raises:
        ModelError: For an unknown structure, or a dimension of 1.

    References:
        Wang et al., MaskNet: Introducing Feature-Wise Multiplication to CTR Ranking Models by Instance-Guided Mask,
        DLP-KDD 2021.
    """
    require_choice("structure", structure, STRUCTURES)
    for name, value in (("num_blocks", num_blocks), ("block_width", block_width)):
        require_count(name, value)
    require_positive("reduction", reduction)
    require_widths("hidden", hidden)
    require_share("dropout", dropout)
    require_count("dimension", dimension, fewest=2)
    inputs = click_inputs(schema)
    fields, numerics = embed_fields(schema, inputs, dimension), numeric_columns(schema, inputs)
    parts = {"": flat_fields(fields), "_numeric": numerics}
    values = numerics
    if fields is not None:
        flat = keras.layers.Flatten(name="flat_normalized")(normalized(fields, name="field_norm"))
        values = flat if numerics is None else keras.layers.Concatenate(name="normalized")([flat, numerics])

    def block(values: Any, width: int, name: str) -> Any:
        aggregated = joint_dense(parts, max(1, round(reduction * values.shape[-1])), name=f"{name}_aggregation")
        return mask_block(values, aggregated, width, name=name)

    if structure == "serial":
        for level, width in enumerate(hidden):
            values = block(values, width, f"block_{level}")
            values = keras.layers.Dropout(dropout, name=f"dropout_{level}")(values) if dropout else values
        return click_model(inputs, [values], name="masknet")
    blocks = [block(values, block_width, f"block_{number}") for number in range(num_blocks)]
    joined = blocks[0] if num_blocks == 1 else keras.layers.Concatenate(name="blocks")(blocks)
    return click_model(inputs, [tower(joined, None, hidden, dropout=dropout)], name="masknet")
