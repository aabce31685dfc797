"""Rules for our own layers that mix units: experts, gates, attention among fields, numbers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tfshop import layers
from tfshop.compression.units.following import Call, Followed, Kept, Product, Rule, joined, same, shared_by
from tfshop.compression.units.ledger import Axes, Axis
from tfshop.compression.units.rules_fields import ONE, new_positions
from tfshop.compression.units.rules_shapes import hold_features_apart


def expert_kernels(call: Call) -> Followed:
    """An expert goes whole; a rank goes from all experts, which are equally wide, and from both sides."""
    rows, flat = call.input
    experts, ranks = call.ledger.grid(flat, call.layer.num_experts, call.name, "both", "expert")
    if not all(experts) and call.layer.num_experts > 1:
        call.hold(flat, reason="finds no experts side by side")
    return Followed(
        ((rows, joined(experts, ranks)),),
        weights=((experts, ranks, ranks),),
        settings=lambda kept: {"num_experts": kept.count(experts)},
        products=(Product((experts, ranks, ranks)),),
    )


def gated_experts(call: Call) -> Followed:
    """An expert goes with its gate; the others' gates grow, as they add up to one."""
    (rows, _), _ = call.inputs
    experts, widths = _experts(call)
    return same(rows, joined(experts, widths))


def gated_sum(call: Call) -> Followed:
    """An expert goes with its gate; a unit goes from all experts."""
    (rows, _), _ = call.inputs
    return same(rows, _experts(call)[1])


def _experts(call: Call) -> Axes:
    (_, flat), (_, gates) = call.inputs
    experts, widths = call.ledger.grid(flat, len(gates), call.name, "both", "expert")
    call.ledger.tie_axes(experts, gates, call.name)
    return experts, widths


def gate(call: Call) -> Followed:
    """A gate a feature."""
    features, logits = call.inputs
    for one, other in zip(features, logits, strict=True):
        call.ledger.tie_axes(one, other, call.name)
    return same(*features)


def bias(call: Call) -> Followed:
    """A number added to each element of the last axis."""
    call.hold_positions(call.input[:-1])
    return one_weight_each(call)


def one_weight_each(call: Call) -> Followed:
    """A number for each element of the last axis."""
    return Followed((call.input,), ((call.input[-1],),))


def field_regulation(call: Call) -> Followed:
    """Gates of fields that add up to their number."""
    rows, flat = call.input
    fields, width = call.ledger.grid(flat, call.layer.num_fields, call.name)
    return Followed(
        ((rows, joined(fields, width)),),
        weights=((fields,),),
        settings=lambda kept: {"num_fields": kept.count(fields)},
    )


def field_attention(call: Call) -> Followed:
    """Heads go whole, from queries, keys and values."""
    queries, keys, values = call.inputs
    for other in (keys, values):
        call.ledger.tie_axes(queries[0], other[0], call.name)
    heads, flat = _heads(call, [queries[1], keys[1], values[1]])
    fields = queries[0]
    return Followed(
        ((fields, flat),),
        settings=lambda kept: {"num_heads": kept.count(heads), "num_fields": kept.count(fields)},
    )


def history_attention(call: Call) -> Followed:
    """Heads go whole, from queries, keys and values."""
    queries, keys, values, _ = call.inputs
    for other in (keys, values):
        call.ledger.tie_axes(queries[1], other[1], call.name)
    heads, flat = _heads(call, [queries[2], keys[2], values[2]])
    return Followed(((*queries[:2], flat),), settings=lambda kept: {"num_heads": kept.count(heads)})


def _heads(call: Call, read: list[Axis]) -> tuple[Axis, Axis]:
    """Entries of the heads, and of what they give side by side."""
    number = call.layer.num_heads
    parts = [call.ledger.grid(axis, number, call.name, "rows", "head") for axis in read]
    for axis in read:  # a head has no element of its own: each part is scaled by its width
        for start in range(0, len(axis), len(axis) // number):
            for entry in axis[start : start + len(axis) // number]:
                call.ledger.tie(axis[start], entry, call.name)
    for heads, _ in parts[1:]:
        call.ledger.tie_axes(parts[0][0], heads, call.name)
    return parts[0][0], joined(parts[2][0], parts[2][1])


def attention_sum(call: Call) -> Followed:
    """A mean over positions; scores may come in rows."""
    scores, values = call.inputs
    given = scores[1] if len(scores) > 2 else scores[0]  # noqa: PLR2004  (batch, length, 1)
    call.ledger.tie_axes(values[1], given, call.name)
    return same(values[0], tuple(entry | shared_by(values[1]) for entry in values[2]))


def numeric_transform(call: Call) -> Followed:
    """A column a number, then a flag for each that may be missing."""
    layer, (rows, columns) = call.layer, call.input
    lists = ("logarithmic", "center", "scale", "fill", "limit", "low", "high")

    def settings(kept: Kept) -> dict[str, Any]:
        staying = kept.indices(columns)
        given = {name: getattr(layer, name) for name in lists}
        cut = {name: values and [values[position] for position in staying] for name, values in given.items()}
        return {**cut, "indicators": new_positions(columns, layer.indicators, kept)}

    flags = tuple(columns[position] for position in layer.indicators)
    return Followed(((rows, columns + flags),), settings=settings)


def numeric_fields(call: Call) -> Followed:
    """A vector a column."""
    rows, columns = call.input
    width = call.fresh(call.layer.dimension)
    return Followed(
        ((rows, columns, width),),
        weights=((columns, width),),
        settings=lambda kept: {"dimension": kept.count(width)},
        products=(Product((columns, width)),),
    )


def dot_product(call: Call) -> Followed:
    """Both vectors are multiplied element by element, and summed."""
    one, other = call.inputs
    hold_features_apart(call)
    call.ledger.tie_axes(one[1], other[1], call.name)
    return same(one[0], ONE)


def unit_length(call: Call) -> Followed:
    """A unit that is zero adds nothing to the length."""
    return same(*call.input)


RULES: Mapping[type, Rule] = MappingProxyType(
    {
        layers.ExpertKernels: expert_kernels,
        layers.GatedExperts: gated_experts,
        layers.GatedSum: gated_sum,
        layers.Gate: gate,
        layers.ConstantGate: one_weight_each,
        layers.Bias: bias,
        layers.FieldRegulation: field_regulation,
        layers.FieldAttention: field_attention,
        layers.HistoryAttention: history_attention,
        layers.AttentionSum: attention_sum,
        layers.NumericTransform: numeric_transform,
        layers.NumericFields: numeric_fields,
        layers.DotProduct: dot_product,
        layers.UnitLength: unit_length,
    }
)
