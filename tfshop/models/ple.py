"""Progressive Layered Extraction: experts of each target's own beside shared ones, level upon level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tfshop._keras import keras
from tfshop.data.schema import Schema
from tfshop.models.blocks import tower
from tfshop.models.checks import require_count
from tfshop.models.several import Features, features, gated, short_names, target_inputs, target_outputs

SHARED = "shared"


def build_ple(
    schema: Schema,
    *,
    dimension: int = 16,
    num_levels: int = 2,
    shared_experts: int = 2,
    own_experts: int = 2,
    hidden: Sequence[int] = (128,),
    heads: Sequence[int] = (64,),
    dropout: float = 0.0,
) -> Any:
    """Customized gate control, stacked: a target's gate mixes its own experts with the shared ones.

    Args:
        schema: Fitted schema of several targets.
        dimension: Width of the embedding table.
        num_levels: Levels of experts; 1 is a single customized gate control (CGC).
        shared_experts: Experts of a level that all targets read.
        own_experts: Experts of a level that one target alone reads.
        hidden: Widths of each expert.
        heads: Widths of each target's tower.
        dropout: Share of units dropped while training, in [0, 1).

    Returns:
        Functional model. Inputs: as `schema.input_specs()`. Outputs: `probability_<target>`, float32 (batch, 1), a
        list in the order of the targets.

    References:
        Tang et al., Progressive Layered Extraction (PLE): A Novel Multi-Task Learning (MTL) Model for Personalized
        Recommendations, RecSys 2020.
    """
    counts = {"num_levels": num_levels, "shared_experts": shared_experts, "own_experts": own_experts}
    for name, value in counts.items():
        require_count(name, value)
    inputs = target_inputs(schema, "ple")
    owners = {target: f"for_{short}" for target, short in short_names(schema).items()}
    state = dict.fromkeys((*owners.values(), SHARED), features(schema, inputs, dimension))
    for level in range(num_levels):
        experts = {
            owner: [
                tower(*read, hidden, dropout=dropout, name=f"level_{level}_{owner}_{number}")
                for number in range(shared_experts if owner == SHARED else own_experts)
            ]
            for owner, read in state.items()
        }
        # Nothing reads what all targets share of the last level.
        state = _mixed(state, experts, level, tuple(state) if level + 1 < num_levels else tuple(owners.values()))
    outputs = target_outputs(schema, {target: state[owner][0] for target, owner in owners.items()}, heads)
    return keras.Model(inputs=inputs, outputs=outputs, name="ple")


def _mixed(
    state: Mapping[str, Features], experts: Mapping[str, Sequence[Any]], level: int, owners: Sequence[str]
) -> dict[str, Features]:
    """What each owner passes on to the next level."""
    everyones = [expert for several in experts.values() for expert in several]
    return {
        owner: (
            gated(
                state[owner],
                everyones if owner == SHARED else [*experts[owner], *experts[SHARED]],
                name=f"level_{level}_{owner}",
            ),
            None,
        )
        for owner in owners
    }
