"""Deep Interest Evolution Network: how the interest that a candidate calls up came about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop.data.schema import Schema
from tfshop.errors import ModelError
from tfshop.layers import (
    InterestEvolution,
    InterestGRU,
    NextBehaviourLoss,
    PositionScores,
    PositionWeights,
    dense_per_field,
)
from tfshop.models.blocks import click_inputs, click_model, numeric_columns, tower
from tfshop.models.sequences import Behaviour, all_fields, embed_behaviours


def build_dien(
    schema: Schema,
    *,
    dimension: int = 16,
    hidden: Sequence[int] = (400, 400, 400),
    dropout: float = 0.0,
    auxiliary_weight: float = 1.0,
) -> Any:
    """A GRU reads each history; a second one, its gate scaled by attention, keeps what leads to the candidate.

    Both are unrolled over `max_length` positions, about 27 operators a position in the file.

    Args:
        schema: Fitted schema with a `SequenceFeature` and an `IdFeature` of one table.
        dimension: Width of the embedding table and of the states.
        hidden: Widths of the tower.
        dropout: Share of units dropped while training, in [0, 1).
        auxiliary_weight: Of the loss that asks each state for the next behaviour; the training loss contains it, the
            exported file does not. 0 for none.

    Returns:
        Functional model. Inputs: as `schema.input_specs()`. Output: `probability`, float32 (batch, 1).

    Raises:
        ModelError: Where no history has an id feature of its table; for a weight below 0.

    References:
        Zhou et al., Deep Interest Evolution Network for Click-Through Rate Prediction, AAAI 2019.
    """
    if not isinstance(auxiliary_weight, float | int) or not auxiliary_weight >= 0:
        raise ModelError(f"auxiliary_weight is {auxiliary_weight!r}. Expected 0 or more. Fix: auxiliary_weight=1.0.")
    inputs = click_inputs(schema)
    embedded = embed_behaviours(schema, inputs, dimension, wanted_by="dien")
    interests = [_evolved(behaviour, dimension, float(auxiliary_weight)) for behaviour in embedded.behaviours]
    fields = all_fields([*embedded.fields, *interests])
    deep = tower(fields, numeric_columns(schema, inputs), hidden, dropout=dropout)
    return click_model(inputs, [deep], name="dien")


def _evolved(behaviour: Behaviour, units: int, auxiliary_weight: float) -> Any:
    """The last state of the interest that leads to the candidate, float32 (batch, 1, units)."""
    name = behaviour.name
    projected = dense_per_field(behaviour.positions, 3 * units, name=f"{name}_extraction_input")
    states = InterestGRU(units, name=f"{name}_extraction")(projected)
    if auxiliary_weight and behaviour.ids.shape[1] > 1:
        layer = NextBehaviourLoss(auxiliary_weight, name=f"{name}_next_behaviour")
        states = layer([states, behaviour.positions, behaviour.ids])
    wanted = dense_per_field(behaviour.target, units, name=f"{name}_attention", use_bias=False)
    scores = PositionScores(name=f"{name}_scores")([states, wanted])
    weights = PositionWeights(softmax=True, name=f"{name}_weights")([scores, behaviour.ids])
    again = dense_per_field(states, 3 * units, name=f"{name}_evolution_input")
    return InterestEvolution(units, name=f"{name}_evolution")([again, weights])
