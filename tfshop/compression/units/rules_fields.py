"""Rules for our own layers that read fields: pairs of them, some of them, sums over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from types import MappingProxyType
from typing import Any

import numpy as np

from tfshop import layers
from tfshop.compression.units.following import Call, Followed, Kept, Rule, Segments, joined, same, shared_by
from tfshop.compression.units.ledger import NOTHING, Axis

ONE: Axis = (NOTHING,)


def gathered(axis: Axis, positions: Sequence[int]) -> Axis:
    """The entries at some positions."""
    return tuple(axis[position] for position in positions)


def new_positions(axis: Axis, positions: Sequence[int], kept: Kept) -> list[int]:
    """Where what stays of some positions lies once the others are gone."""
    places = {old: new for new, old in enumerate(kept.indices(axis))}
    return [places[position] for position in positions if position in places]


def field_gather(call: Call) -> Followed:
    """Fields by position."""
    rows, fields, *width = call.input
    positions = call.layer.positions
    return Followed(
        ((rows, gathered(fields, positions), *width),),
        settings=lambda kept: {"positions": new_positions(fields, positions, kept)},
    )


def column_select(call: Call) -> Followed:
    """Columns by position; those of an input keep theirs."""
    rows, columns = call.input
    chosen = call.layer.columns

    def settings(kept: Kept) -> dict[str, list[int]]:
        if call.reads_input:
            return {"columns": [position for position in chosen if not kept.goes(columns[position])]}
        return {"columns": new_positions(columns, chosen, kept)}

    return Followed(((rows, gathered(columns, chosen)),), settings=settings)


def field_slice(call: Call) -> Followed:
    """Neighbouring fields."""
    rows, fields, width = call.input
    start, length = call.layer.start, call.layer.length

    def settings(kept: Kept) -> dict[str, int]:
        return {
            "start": kept.count(fields[:start]) if start else 0,
            "length": kept.count(fields[start : start + length]),
        }

    return Followed(((rows, fields[start : start + length], width),), settings=settings)


def field_scale(call: Call) -> Followed:
    """A number a field."""
    fields, weights = call.inputs
    call.ledger.tie_axes(fields[1], weights[1], call.name)
    return same(*fields)


def field_mean(call: Call) -> Followed:
    """A mean over the width, which stays."""
    rows, fields, width = call.input
    call.hold(width, reason="takes the mean over it")
    return same(rows, fields)


def field_sum(call: Call) -> Followed:
    """A sum over the fields."""
    rows, fields, width = call.input
    return same(rows, tuple(entry | shared_by(fields) for entry in width))


def factorization_machine(call: Call) -> Followed:
    """A sum over fields and width."""
    return same(call.input[0], (shared_by(call.input[1]),))


def field_aware_products(call: Call) -> Followed:
    """A field's row is cut into its vectors for the others, so all stays."""
    call.hold(*call.input, reason="reads a vector of each field for each other one")
    return same(call.input[0], ONE)


def hash_sum(call: Call) -> Followed:
    """The columns of a feature are added up, and go together."""
    rows, columns, width = call.input
    ends = list(accumulate(call.layer.hashes, initial=0))
    parts = [columns[start:end] for start, end in pairwise(ends)]
    for part in parts:
        for other in part[1:]:
            call.ledger.tie(part[0], other, call.name)
    fields = tuple(part[0] for part in parts)
    hashes = call.layer.hashes
    return Followed(
        ((rows, fields, width),),
        settings=lambda kept: {"hashes": [hashes[position] for position in kept.indices(fields)]},
    )


def pairs(axis: Axis) -> Axis:
    """Entries of all pairs i < j."""
    return tuple(axis[i] | axis[j] for i, j in zip(*np.triu_indices(len(axis), k=1), strict=True))


def inner_products(call: Call) -> Followed:
    """A number a pair of fields."""
    return same(call.input[0], pairs(call.input[1]))


def pairwise_products(call: Call) -> Followed:
    """A vector a pair of fields."""
    return same(call.input[0], pairs(call.input[1]), call.input[2])


def outer_product(call: Call) -> Followed:
    """A number a pair of elements of the width, those with themselves included."""
    rows, _, width = call.input
    upper = zip(*np.triu_indices(len(width)), strict=True)
    return same(rows, tuple(width[i] | width[j] for i, j in upper))


def row_products(call: Call) -> Followed:
    """A number a pair of an element of one row and one of the other."""
    (rows, left), (other_rows, right) = call.inputs
    call.ledger.tie_axes(rows, other_rows, call.name)
    return same(rows, joined(left, right))


def field_offsets(call: Call) -> Followed:
    """Says which rows of the table each column reads."""
    rows, columns = call.input
    offsets = call.layer.offsets

    def staying(kept: Kept) -> list[int]:
        """Offsets that are still added; one for all columns of a sequence stays."""
        one_each = len(offsets) == len(columns)
        return gathered_numbers(offsets, kept.indices(columns)) if one_each else offsets

    segments = Segments(sorted(set(offsets)), staying)
    return Followed(
        ((rows, columns),),
        settings=lambda kept: {"offsets": [segments.moved(offset, kept) for offset in staying(kept)]},
        rows_of=segments,
    )


def id_crosses(call: Call) -> Followed:
    """A pair goes with either of its columns, and its rows of the table with it."""
    layer, (rows, columns) = call.layer, call.input
    crossed = tuple(columns[i] | columns[j] for i, j in zip(layer.left, layer.right, strict=True))
    starts = list(accumulate(layer.rows, initial=0))[:-1]

    def settings(kept: Kept) -> dict[str, Any]:
        staying = kept.indices(crossed)
        return {
            "left": new_positions(columns, gathered_numbers(layer.left, staying), kept),
            "right": new_positions(columns, gathered_numbers(layer.right, staying), kept),
            "sizes": [layer.sizes[position] for position in staying],
        }

    segments = Segments(starts, lambda kept: gathered_numbers(starts, kept.indices(crossed)))
    return Followed(((rows, crossed),), settings=settings, rows_of=segments)


def gathered_numbers(values: Sequence[int], positions: Sequence[int]) -> list[int]:
    """The numbers at some positions."""
    return [values[position] for position in positions]


RULES: Mapping[type, Rule] = MappingProxyType(
    {
        layers.FieldGather: field_gather,
        layers.ColumnSelect: column_select,
        layers.FieldSlice: field_slice,
        layers.FieldScale: field_scale,
        layers.FieldMean: field_mean,
        layers.FieldSum: field_sum,
        layers.FactorizationMachine: factorization_machine,
        layers.BiInteraction: field_sum,
        layers.FieldAwareProducts: field_aware_products,
        layers.HashSum: hash_sum,
        layers.InnerProducts: inner_products,
        layers.PairwiseProducts: pairwise_products,
        layers.OuterProduct: outer_product,
        layers.RowProducts: row_products,
        layers.FieldOffsets: field_offsets,
        layers.IdCrosses: id_crosses,
    }
)
