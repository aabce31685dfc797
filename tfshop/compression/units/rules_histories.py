"""Rules for our own layers that read behaviour histories: attention, pooling, recurrence."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tfshop import layers
from tfshop.compression.units.following import Call, Followed, Product, Rule, same, shared_by
from tfshop.compression.units.ledger import NOTHING, Axes, Axis
from tfshop.compression.units.rules_fields import ONE


def masked_mean(call: Call) -> Followed:
    """A mean over positions; it goes with the history."""
    rows, positions, width = call.inputs[0]
    return same(rows, (shared_by(positions),), width)


def dice(call: Call) -> Followed:
    """A slope and two moving averages a unit."""
    values = call.inputs[0]
    return Followed((values,), tuple((values[-1],) for _ in call.layer.weights))


def position_weights(call: Call) -> Followed:
    """A weight a position."""
    rows, positions, _ = call.inputs[0]
    return same(rows, ONE, positions)


def weighted_sum(call: Call) -> Followed:
    """A sum over positions; it goes with the history."""
    weights, embeddings = call.inputs
    call.ledger.tie_axes(weights[2], embeddings[1], call.name)
    return same(embeddings[0], (shared_by(embeddings[1]),), embeddings[2])


def position_scores(call: Call) -> Followed:
    """Products with each position."""
    positions, vector = call.inputs
    call.ledger.tie_axes(positions[2], vector[2], call.name)
    return same(positions[0], positions[1], ONE)


def recency_codes(call: Call) -> Followed:
    """Codes of a history's positions and the target's."""
    rows, positions = call.input
    tokens = (*positions, NOTHING)
    return same(rows, tokens, (NOTHING,) * len(tokens))


def interest_gru(call: Call) -> Followed:
    """A unit of the state has three columns of what is read, and a row and columns of both kernels."""
    rows, positions, projected = call.input
    units = _state_units(call, projected)
    return _recurrent(call, units, ((rows, positions, units),), (rows, positions))


def interest_evolution(call: Call) -> Followed:
    """As `interest_gru`; the last state goes with the history."""
    rows, positions, projected = call.inputs[0]
    units = _state_units(call, projected)
    return _recurrent(call, units, ((rows, (shared_by(positions),), units),), (rows, positions))


def _state_units(call: Call, projected: Axis) -> Axis:
    return call.ledger.grid(projected, 3, call.name)[1]


def _recurrent(call: Call, units: Axis, outputs: tuple[Axes, ...], steps: Axes) -> Followed:
    weights = {"gates_kernel": (units, units + units), "state_kernel": (units, units)}
    names = [weight.name.split("/")[-1].split(":")[0] for weight in call.layer.weights]
    return Followed(
        outputs,
        weights=tuple(weights[name] for name in names),
        settings=lambda kept: {"units": kept.count(units)},
        products=(Product((*steps, units, units), times=3),),
    )


def next_behaviour_loss(call: Call) -> Followed:
    """States are compared with embeddings, element by element."""
    states, embeddings, _ = call.inputs
    call.ledger.tie_axes(states[2], embeddings[2], call.name)
    return same(*states)


RULES: Mapping[type, Rule] = MappingProxyType(
    {
        layers.MaskedMean: masked_mean,
        layers.Dice: dice,
        layers.PositionWeights: position_weights,
        layers.WeightedSum: weighted_sum,
        layers.PositionScores: position_scores,
        layers.RecencyCodes: recency_codes,
        layers.InterestGRU: interest_gru,
        layers.InterestEvolution: interest_evolution,
        layers.NextBehaviourLoss: next_behaviour_loss,
    }
)
