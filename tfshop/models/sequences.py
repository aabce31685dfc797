"""What networks with behaviour sequences share: each history beside the id it is a history of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfshop.data.features import SequenceFeature
from tfshop.data.schema import Schema
from tfshop.errors import ModelError
from tfshop.layers import FieldSlice
from tfshop.models.blocks import flat_fields, join_fields, vector_fields
from tfshop.models.lookup import look_up, pooled


@dataclass(frozen=True, eq=False)
class Behaviour:
    """A history and the candidate whose fate it should tell.

    Attributes:
        name: What the layers that read it begin with.
        positions: float32 (batch, max_length, dimension), oldest first; padding is row 0 of the table.
        ids: int32 (batch, max_length); 0 is padding.
        target: float32 (batch, 1, dimension): the id feature that shares the history's table.
    """

    name: str
    positions: Any
    ids: Any
    target: Any


@dataclass(frozen=True, eq=False)
class EmbeddedBehaviours:
    """All that is looked up, through one lookup in one table.

    Attributes:
        fields: float32 (batch, n, dimension), a list of them: ids, histories without a candidate (averaged), vectors.
        behaviours: The histories that have a candidate.
    """

    fields: list[Any]
    behaviours: tuple[Behaviour, ...]


def embed_behaviours(
    schema: Schema, inputs: Mapping[str, Any], dimension: int, *, wanted_by: str
) -> EmbeddedBehaviours:
    """Look everything up, and pair each history with the first id feature that shares its table.

    Args:
        schema: Fitted schema.
        inputs: As `click_inputs` gives them.
        dimension: Width of the table.
        wanted_by: The network, for the error.

    Raises:
        ModelError: Where no history has an id feature of its table.
    """
    targets = target_positions(schema, wanted_by)
    looked_up = look_up(schema, inputs, dimension)
    fields = [looked_up.ids]
    behaviours = []
    for feature in schema.sequence_features:
        if feature.name not in targets:
            fields.append(pooled(inputs, looked_up, feature))
            continue
        name = f"table_{feature.input_name}"
        target = FieldSlice(targets[feature.name], 1, name=f"{name}_target")(looked_up.ids)
        positions = looked_up.sequences[feature.input_name]
        behaviours.append(Behaviour(name, positions, inputs[feature.input_name], target))
    fields += vector_fields(schema, inputs, dimension)
    return EmbeddedBehaviours(fields, tuple(behaviours))


def target_positions(schema: Schema, wanted_by: str) -> dict[str, int]:
    """Sequence name to the position of its id feature among the ids; sequences without one are left out.

    Raises:
        ModelError: Where there is none at all.
    """
    sequences = require_sequences(schema, wanted_by)
    tables = [feature.table_name for feature in schema.id_features]
    found = {feature.name: tables.index(feature.table) for feature in sequences if feature.table in tables}
    if not found:
        described = ", ".join(f"{feature.name!r} (table {feature.table!r})" for feature in sequences)
        raise ModelError(
            f"{wanted_by} compares a history with the id it leads to, but no id feature has the table of {described}; "
            f"id features have the tables {', '.join(map(repr, tables)) or 'of none'}. Expected an IdFeature of the "
            f"same table. Fix: IdFeature({sequences[0].table!r}, …), or build_model('mean_pooling', …)."
        )
    return found


def require_sequences(schema: Schema, wanted_by: str) -> Sequence[SequenceFeature]:
    """The schema's sequences; `ModelError` where it has none."""
    if not schema.sequence_features:
        raise ModelError(
            f"{wanted_by} reads behaviour sequences, and the schema has none. Expected a SequenceFeature, such as "
            "SequenceFeature('viewed', table='item_id'). Fix: declare one, or build_model('mlp', …)."
        )
    return schema.sequence_features


def all_fields(fields: Sequence[Any]) -> Any:
    """Fields side by side, float32 (batch, num_fields * dimension)."""
    return flat_fields(join_fields(fields))
