"""Rules for Keras' layers with weights, and those that act on each element."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from tfshop._keras import keras
from tfshop.compression.units.following import (
    Call,
    Followed,
    Kept,
    Product,
    Rule,
    activated,
    keeps_zeros,
    same,
    shared_by,
)
from tfshop.compression.units.ledger import Axis

layers = keras.layers
TABLE_WIDTH = "the width of its table stays"
KEY_WIDTH = None  # of a head; heads go whole


def dense(call: Call) -> Followed | None:
    """A unit a column of the kernel; what is read are its rows. Where all of them go, so does what it gives."""
    layer, (*positions, read) = call.layer, call.input
    if len(layer.weights) != 1 + layer.use_bias:  # its activation is a layer with weights
        return None
    units = call.fresh(layer.units)
    activated(call, layer.activation, units)
    if layer.use_bias or not keeps_zeros(layer.activation):
        call.hold_positions(positions)
    with_all = call.ledger.features(shared_by(call.ledger.resolved(read)))
    return Followed(
        outputs=((*positions, tuple(unit | with_all for unit in units) if with_all else units),),
        weights=((read, units), (units,)) if layer.use_bias else ((read, units),),
        settings=lambda kept: {"units": kept.count(units)},
        products=(Product((*positions, read, units)),),
    )


def einsum_dense(call: Call) -> Followed | None:
    """Axes by the letters of the equation: those of the output that the input lacks are units."""
    layer = call.layer
    equation = layer.equation.replace(" ", "")
    if "." in equation or len(layer.weights) != 1 + bool(layer.bias_axes):
        return None
    read, rest = equation.split(",")
    kernel, given = rest.split("->")
    by_letter: dict[str, Axis] = dict(zip(read, call.input, strict=True))
    if read[0] != given[0] or read[0] in kernel:
        return None
    for letter, length in zip(given[1:], call.output_shapes[0], strict=True):
        if letter not in by_letter:
            if length is None:
                return None
            by_letter[letter] = call.fresh(length)
    output = tuple(by_letter[letter] for letter in given)
    activated(call, layer.activation, output[-1])
    bias = [letter for letter in given if letter in (layer.bias_axes or "")]
    if bias or not keeps_zeros(layer.activation):
        call.hold_positions(by_letter[letter] for letter in read if letter in given)
    weights = [tuple(by_letter[letter] for letter in kernel)]
    if bias:
        weights.append(tuple(by_letter[letter] for letter in bias))
    return Followed(
        outputs=(output,),
        weights=tuple(weights),
        settings=lambda kept: {"output_shape": tuple(kept.count(axis) for axis in output[1:])},
        products=(Product(tuple(by_letter.values())),),
    )


def batch_normalization(call: Call) -> Followed | None:
    """A scale, a shift, a mean and a variance a unit."""
    axes, layer = call.input, call.layer
    expected = int(layer.scale) + int(layer.center) + 2
    if [axis % len(axes) for axis in layer.axis] != [len(axes) - 1] or len(layer.weights) != expected:
        return None
    call.hold_positions(axes[:-1])
    return Followed((axes,), tuple((axes[-1],) for _ in layer.weights))


def layer_normalization(call: Call) -> Followed:
    """Even a unit that is zero counts in the mean and variance of the others, so the width stays."""
    axes, layer = call.input, call.layer
    given = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    normalized = [axes[axis % len(axes)] for axis in given]
    call.hold(*normalized, reason="takes mean and variance over the width: without a unit, every other changes")
    if layer.center:
        call.hold_positions(axes)
    return same(*axes)


def prelu(call: Call) -> Followed:
    """A slope a unit, or one that positions share."""
    axes = call.input
    shared = call.layer.shared_axes or ()
    slopes = tuple(None if number in shared else axis for number, axis in enumerate(axes) if number)
    return Followed((axes,), (slopes,))


def embedding(call: Call) -> Followed:
    """A row an id; its width stays unless asked for."""
    width = call.fresh(call.layer.output_dim)
    if not call.with_tables:
        call.ledger.hold_axes((width,), TABLE_WIDTH)
    size, segments = call.layer.input_dim, call.rows_of

    def rows(kept: Kept) -> list[int]:
        return list(range(size)) if segments is None else segments.rows(size, kept)

    return Followed(
        outputs=((*call.input, width),),
        weights=((rows, width),),
        settings=lambda kept: {"output_dim": kept.count(width), "input_dim": len(rows(kept))},
        rows_of=segments,
    )


def multi_head_attention(call: Call) -> Followed | None:
    """Heads go whole, with their query, key, value and the rows that read them."""
    query, value = call.given_as("query"), call.given_as("value")
    key = call.given_as("key") or value
    if query is None or value is None or key is None:
        return None
    layer, config = call.layer, call.layer.get_config()
    if any(len(axes) != 3 for axes in (query, value, key)):  # noqa: PLR2004
        return None
    if np.size(layer._output_shape) > 1 or len(call.output_shapes[0]) != 2:  # noqa: PLR2004
        return None
    call.hold(query[1], value[1], key[1], reason="attends among positions")
    heads = call.fresh(config["num_heads"], "head")
    given = call.fresh(call.output_shapes[0][-1] or 1)
    kernels = [(axes[-1], heads, KEY_WIDTH) for axes in (query, key, value)]
    weights: list[tuple[Axis | None, ...]] = []
    for kernel in kernels:
        weights += [kernel, (heads, KEY_WIDTH)] if config["use_bias"] else [kernel]
    weights += [(heads, KEY_WIDTH, given), (given,)] if config["use_bias"] else [(heads, KEY_WIDTH, given)]
    shapes = {"query_shape": query, "value_shape": value, "key_shape": key}
    widths = {"query": config["key_dim"], "key": config["key_dim"], "value": config["value_dim"]}
    return Followed(
        outputs=((*query[:-1], given),),
        weights=tuple(weights),
        settings=lambda kept: {
            "num_heads": kept.count(heads),
            "output_shape": kept.count(given),
            **{name: (None, *(kept.count(axis) for axis in axes[1:])) for name, axes in shapes.items()},
        },
        products=(
            *(Product((axes[1], axes[-1], heads), widths[name.split("_")[0]]) for name, axes in shapes.items()),
            Product((query[1], heads, given), config["value_dim"]),
        ),
    )


def unchanged(call: Call) -> Followed:
    """Each element for itself."""
    return same(*call.input)


def activation(call: Call) -> Followed:
    """Each element for itself, unless the function is a softmax or one nobody knows."""
    activated(call, call.layer.activation, call.input[-1])
    if not keeps_zeros(call.layer.activation):
        call.hold_positions(call.input[:-1])
    return same(*call.input)


def softmax(call: Call) -> Followed:
    """What goes changes all that stay."""
    axis = call.layer.axis
    if axis not in (-1, len(call.input) - 1):
        call.hold(*call.input[1:], reason="is a softmax over another axis than the last")
    else:
        call.ledger.soften(call.input[-1])
        call.hold_positions(call.input[:-1])
    return same(*call.input)


RULES: Mapping[type, Rule] = MappingProxyType(
    {
        layers.Dense: dense,
        layers.EinsumDense: einsum_dense,
        layers.BatchNormalization: batch_normalization,
        layers.LayerNormalization: layer_normalization,
        layers.PReLU: prelu,
        layers.Embedding: embedding,
        layers.MultiHeadAttention: multi_head_attention,
        layers.Activation: activation,
        layers.Softmax: softmax,
        **dict.fromkeys(
            (
                layers.ReLU,
                layers.LeakyReLU,
                layers.ELU,
                layers.ThresholdedReLU,
                layers.Dropout,
                layers.AlphaDropout,
                layers.GaussianDropout,
                layers.GaussianNoise,
                layers.ActivityRegularization,
            ),
            unchanged,
        ),
    }
)
