"""FinalMLP: two towers over features gated differently, fused by a bilinear form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop._keras import keras
from tfshop.data.features import Feature
from tfshop.data.schema import Schema
from tfshop.errors import ModelError
from tfshop.layers import ConstantGate, FieldGather, Gate, bilinear_fusion
from tfshop.models.blocks import click_inputs, click_model, embed_fields, flat_fields, numeric_columns, tower
from tfshop.models.checks import require_count, require_widths


def build_finalmlp(
    schema: Schema,
    *,
    dimension: int = 16,
    hidden: Sequence[int] = (400, 400, 400),
    other_hidden: Sequence[int] | None = None,
    contexts: Sequence[Sequence[str]] = ((), ()),
    gate_width: int = 64,
    num_heads: int = 4,
    dropout: float = 0.0,
) -> Any:
    """Two streams, each a gate over all features and a tower, fused by a bilinear form in heads.

    Args:
        schema: Fitted schema.
        dimension: Width of the embedding table.
        hidden: Widths of the first tower.
        other_hidden: Widths of the second tower; those of the first where None.
        contexts: For each stream the features that its gate looks at, such as those of the user and those of the
            item; without any, the gate is the same for every example.
        gate_width: Hidden units of a gate that has a context.
        num_heads: Parts of the bilinear form; divides the last width of both towers.
        dropout: Share of the towers' units dropped while training, in [0, 1).

    Returns:
        Functional model. Inputs: as `schema.input_specs()`. Output: `probability`, float32 (batch, 1).

    Raises:
        ModelError: For a context that is no id, sequence or vector feature, or heads that do not divide the widths.

    References:
        Mao et al., FinalMLP: An Enhanced Two-Stream MLP Model for CTR Prediction, AAAI 2023.
    """
    widths = [hidden, hidden if other_hidden is None else other_hidden]
    _require_sound(widths, num_heads, gate_width, contexts)
    inputs = click_inputs(schema)
    fields = embed_fields(schema, inputs, dimension)
    flat, numerics = flat_fields(fields), numeric_columns(schema, inputs)
    streams = []
    for stream, widths_of_tower, context in zip(STREAMS, widths, contexts, strict=True):
        told = _context(schema, fields, context, gate_width, f"{stream}_gate")
        gated_fields = _gated(flat, told, f"{stream}_field_gate")
        gated_numerics = _gated(numerics, told, f"{stream}_numeric_gate")
        streams.append(tower(gated_fields, gated_numerics, widths_of_tower, dropout=dropout, name=stream))
    fused = bilinear_fusion(streams[0], streams[1], num_heads)
    return click_model(inputs, streams, name="finalmlp", terms=[fused])


STREAMS = ("first", "second")


def _context(schema: Schema, fields: Any, names: Sequence[str], width: int, layer: str) -> Any:
    """Hidden layer of a gate over the fields of the named features; None for no names."""
    if not names:
        return None
    features: tuple[Feature, ...] = (*schema.id_features, *schema.sequence_features, *schema.vector_features)
    order = [feature.name for feature in features]
    unknown = [name for name in names if name not in order]
    if unknown:
        raise ModelError(
            f"finalmlp cannot gate by {', '.join(unknown)}. Expected names of id, sequence or vector features: "
            f"{', '.join(order) or 'none here'}. Fix: contexts=((), ())."
        )
    chosen = FieldGather([order.index(name) for name in names], name=f"{layer}_fields")(fields)
    return keras.layers.Dense(width, activation="relu", name=f"{layer}_hidden")(
        keras.layers.Flatten(name=f"{layer}_context")(chosen)
    )


def _gated(part: Any, told: Any, name: str) -> Any:
    if part is None:
        return None
    if told is None:
        return ConstantGate(name=name)(part)
    return Gate(name=name)([part, keras.layers.Dense(part.shape[-1], name=f"{name}_logits")(told)])


def _require_sound(widths: Sequence[Any], num_heads: int, gate_width: int, contexts: Sequence[Sequence[str]]) -> None:
    for name, value in zip(("hidden", "other_hidden"), widths, strict=True):
        require_widths(name, value)
    require_count("num_heads", num_heads)
    require_count("gate_width", gate_width)
    last = [value[-1] for value in widths]
    if any(width % num_heads for width in last):
        raise ModelError(
            f"num_heads is {num_heads}, and the towers end {last[0]} and {last[1]} wide. Expected a divisor of both. "
            "Fix: num_heads=1."
        )
    if len(contexts) != len(STREAMS) or any(isinstance(context, str) for context in contexts):
        raise ModelError(
            f"contexts is {contexts!r}. Expected two sequences of feature names, one for each stream. "
            "Fix: contexts=(('user',), ('item',))."
        )
