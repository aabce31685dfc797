"""Rules for Keras' layers that put tensors together or lay them out otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from types import MappingProxyType

import numpy as np

from tfshop._keras import keras
from tfshop.compression.units.following import Call, Followed, Rule, Settings, blank, joined, same, shared_by
from tfshop.compression.units.ledger import NOTHING, Axes, Axis
from tfshop.layers import Reshaped

layers = keras.layers
ONE_ENTRY: Axis = (NOTHING,)


def multiply(call: Call) -> Followed | None:
    """Element by element: what goes from one goes from all, whose lengths are 1 or the same."""
    if len({len(axes) for axes in call.inputs}) > 1:
        return None
    return same(*(_broadcast(call, axes) for axes in zip(*call.inputs, strict=True)))


def combine(call: Call) -> Followed | None:
    """As `multiply`; but what is combined with zero is not zero, so where one is repeated the units stay."""
    for axes in zip(*call.inputs, strict=False):
        if len({len(axis) for axis in axes}) > 1:
            call.hold_units(*axes, reason="combines it with one value for all units, which a unit of zeros takes on")
    return multiply(call)


def add(call: Call) -> Followed | None:
    """As `combine`; a part that goes whole with a feature adds nothing, and the others stay."""
    if len({tuple(map(len, axes)) for axes in call.inputs}) > 1:
        return combine(call)
    whole = [_features_of_all(call, axes) for axes in call.inputs]
    common = frozenset.intersection(*whole)
    parts = [
        tuple(tuple(call.ledger.resolve(entry) - (own - common) for entry in axis) for axis in axes)
        if own - common
        else axes
        for own, axes in zip(whole, call.inputs, strict=True)
    ]
    return combine(replace(call, inputs=tuple(parts)))


def hold_features_apart(call: Call) -> None:
    """Have features stay that one input goes whole with and others do not: what is multiplied by it would go too."""
    whole = [_features_of_all(call, axes) for axes in call.inputs]
    call.hold((frozenset().union(*whole) - frozenset.intersection(*whole),), reason="puts it together with others")


def _features_of_all(call: Call, axes: Axes) -> frozenset[int]:
    """Features that a tensor goes whole with."""
    return frozenset().union(*(call.ledger.features(shared_by(call.ledger.resolved(axis))) for axis in axes))


def _broadcast(call: Call, axes: Sequence[Axis]) -> Axis:
    longest = max(len(axis) for axis in axes)
    whole = [axis for axis in axes if len(axis) == longest]
    for axis in axes:
        if len(axis) < longest:
            call.hold(axis, reason="repeats it for every unit of what it is combined with")
    for other in whole[1:]:
        call.ledger.tie_axes(whole[0], other, call.name)
    return whole[0]


def concatenate(call: Call) -> Followed | None:
    """One after the other along an axis; the others are of one structure.

    Where another axis has length 1, what it goes with is a part's own, so that a part can go whole.
    """
    first = call.inputs[0]
    along = call.layer.axis % len(first)
    if along == 0:
        return None
    output: list[Axis] = []
    own: list[list[frozenset[int]]] = [list(axes[along]) for axes in call.inputs]
    for number, axes in enumerate(zip(*call.inputs, strict=True)):
        if number == along:
            output.append(())
        elif len(axes[0]) == 1:
            own = [[entry | axis[0] for entry in part] for part, axis in zip(own, axes, strict=True)]
            output.append((NOTHING,))
        else:
            for other in axes[1:]:
                call.ledger.tie_axes(axes[0], other, call.name)
            output.append(axes[0])
    output[along] = tuple(entry for part in own for entry in part)
    return same(*output)


def dot(call: Call) -> Followed | None:
    """The axes that are multiplied and summed go together; the others are put side by side."""
    one, other = call.inputs
    given = call.layer.axes
    left, right = (given, given) if isinstance(given, int) else given
    left, right = left % len(one), right % len(other)
    hold_features_apart(call)
    call.ledger.tie_axes(one[left], other[right], call.name)
    rest = [*_without(one, left), *_without(other, right)]
    return same(one[0], *(rest or [(NOTHING,)]))


def _without(axes: Axes, number: int) -> list[Axis]:
    return [axis for position, axis in enumerate(axes) if position not in (0, number)]


def flatten(call: Call) -> Followed:
    """All axes as one, the last running fastest."""
    rows, *axes = call.input
    return same(rows, reduce(joined, axes, ONE_ENTRY))


def reshape(call: Call) -> Followed | None:
    """The same elements in order, in other axes."""
    rows, *axes = call.input
    made = reshaped(call, reduce(joined, axes, ONE_ENTRY), call.output_shapes[0])
    return None if made is None else Followed(((rows, *made),), settings=_target_shape("target_shape", made))


def reshaped_rows(call: Call) -> Followed | None:
    """The same elements in rows of another length: one example may have several."""
    shape = tuple(call.layer.shape)
    flat = reduce(joined, call.input, ONE_ENTRY)
    rows = len(flat) // int(np.prod(shape))
    made = reshaped(call, flat, (rows, *shape))
    return None if made is None else Followed((made,), settings=_target_shape("shape", made[1:]))


def _target_shape(name: str, axes: Sequence[Axis]) -> Settings:
    return lambda kept: {name: tuple(kept.count(axis) for axis in axes)}


def reshaped(call: Call, flat: Axis, shape: Sequence[int | None]) -> Axes | None:
    """Entries of the axes of a flat row; None where lengths do not say how it is cut.

    Where units lie side by side in what becomes a matrix, those of one column go together.
    """
    if None in shape or int(np.prod(shape)) != len(flat):  # type: ignore[arg-type]
        return None
    made = []
    for length in shape[:-1]:
        rows, flat = call.ledger.grid(flat, int(length or 1), call.name)
        made.append(rows)
    return (*made, flat)


def permute(call: Call) -> Followed:
    """Axes in another order."""
    rows, *axes = call.input
    return same(rows, *(axes[number - 1] for number in call.layer.dims))


def repeat_vector(call: Call) -> Followed:
    """The same row several times."""
    rows, width = call.input
    return same(rows, (NOTHING,) * call.layer.n, width)


def pooled_positions(call: Call) -> Followed | None:
    """A mean or maximum over all positions, which stay."""
    if len(call.input) != 3 or call.layer.keepdims or call.layer.data_format != "channels_last":  # noqa: PLR2004
        return None
    rows, positions, width = call.input
    call.hold(positions, reason="takes the mean or maximum over them")
    return same(rows, width)


def fixed(call: Call) -> Followed:
    """Needs all it reads."""
    for axes in call.inputs:
        call.hold(*axes, reason=f"({type(call.layer).__name__}) needs all it reads")
    return Followed(tuple(blank(shape) for shape in call.output_shapes))


RULES: Mapping[type, Rule] = MappingProxyType(
    {
        layers.Add: add,
        **dict.fromkeys((layers.Subtract, layers.Average, layers.Maximum, layers.Minimum), combine),
        layers.Multiply: multiply,
        layers.Concatenate: concatenate,
        layers.Dot: dot,
        layers.Flatten: flatten,
        layers.Reshape: reshape,
        Reshaped: reshaped_rows,
        layers.Permute: permute,
        layers.RepeatVector: repeat_vector,
        layers.GlobalAveragePooling1D: pooled_positions,
        layers.GlobalMaxPooling1D: pooled_positions,
    }
)
