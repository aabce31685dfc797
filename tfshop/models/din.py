"""Deep Interest Network: the part of a history that a candidate calls up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop._keras import keras
from tfshop.data.schema import Schema
from tfshop.layers import Dice, PositionWeights, WeightedSum, dense_per_field
from tfshop.models.blocks import click_inputs, click_model, numeric_columns, tower
from tfshop.models.checks import require_choice, require_widths
from tfshop.models.sequences import Behaviour, all_fields, embed_behaviours

ACTIVATIONS = ("dice", "prelu")


def build_din(
    schema: Schema,
    *,
    dimension: int = 16,
    hidden: Sequence[int] = (400, 400, 400),
    dropout: float = 0.0,
    attention_hidden: Sequence[int] = (80, 40),
    activation: str = "dice",
    softmax: bool = False,
) -> Any:
    """Sum each history's embeddings under weights that its candidate gives them.

    A history is compared with the first id feature that shares its table; one without is averaged.

    Args:
        schema: Fitted schema with a `SequenceFeature` and an `IdFeature` of one table.
        dimension: Width of the embedding table.
        hidden: Widths of the tower.
        dropout: Share of units dropped while training, in [0, 1).
        attention_hidden: Widths of the activation unit.
        activation: Of the activation unit: "dice" or "prelu".
        softmax: Whether weights are brought to the sum 1. The paper leaves them as they are, so that the strength of
            an interest is kept.

    Returns:
        Functional model. Inputs: as `schema.input_specs()`. Output: `probability`, float32 (batch, 1).

    Raises:
        ModelError: Where no history has an id feature of its table; for an unknown activation.

    References:
        Zhou et al., Deep Interest Network for Click-Through Rate Prediction, KDD 2018.
    """
    require_choice("activation", activation, ACTIVATIONS)
    require_widths("attention_hidden", attention_hidden)
    inputs = click_inputs(schema)
    embedded = embed_behaviours(schema, inputs, dimension, wanted_by="din")
    interests = [
        _interest(behaviour, attention_hidden, activation, softmax=softmax) for behaviour in embedded.behaviours
    ]
    fields = all_fields([*embedded.fields, *interests])
    deep = tower(fields, numeric_columns(schema, inputs), hidden, dropout=dropout)
    return click_model(inputs, [deep], name="din")


def _interest(behaviour: Behaviour, widths: Sequence[int], activation: str, *, softmax: bool) -> Any:
    """One history as the candidate sees it, float32 (batch, 1, dimension)."""
    scores = _activation_unit(behaviour, widths, activation)
    weights = PositionWeights(softmax, name=f"{behaviour.name}_weights")([scores, behaviour.ids])
    return WeightedSum(name=f"{behaviour.name}_interest")([weights, behaviour.positions])


def _activation_unit(behaviour: Behaviour, widths: Sequence[int], activation: str) -> Any:
    """A score for each position, float32 (batch, max_length, 1).

    The paper's first layer reads behaviour, candidate, their difference and their product side by side. A kernel
    for each, and the candidate's applied once instead of at every position, say the same; the difference is a
    combination of the other two.
    """
    name = f"{behaviour.name}_unit"
    product = keras.layers.Multiply(name=f"{name}_product")([behaviour.positions, behaviour.target])
    x = keras.layers.Add(name=f"{name}_sum")(
        [
            dense_per_field(behaviour.positions, widths[0], name=f"{name}_0_behaviour"),
            dense_per_field(behaviour.target, widths[0], name=f"{name}_0_target", use_bias=False),
            dense_per_field(product, widths[0], name=f"{name}_0_product", use_bias=False),
        ]
    )
    for level, width in enumerate(widths):
        if level:
            x = dense_per_field(x, width, name=f"{name}_{level}")
        x = _activated(x, behaviour.ids, activation, f"{name}_{level}_{activation}")
    return dense_per_field(x, 1, name=f"{name}_score")


def _activated(x: Any, ids: Any, activation: str, name: str) -> Any:
    if activation == "dice":
        return Dice(name=name)([x, ids])
    return keras.layers.PReLU(shared_axes=[1], alpha_initializer=keras.initializers.Constant(0.25), name=name)(x)
