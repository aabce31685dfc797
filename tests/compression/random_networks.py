"""Functional networks that hypothesis draws: branches, sums, products, shared and nested layers, layers over fields.

Rarely there are masks, frozen layers, kernels without negative weights, and a score of three axes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tfshop._keras import keras
from tfshop.data import Schema

layers = keras.layers
WIDTHS = st.integers(3, 20)
ACTIVATIONS = ("relu", "tanh", "linear")
Step = tuple[str, int, int]


def _dense(tensors: list[Any], width: int, pick: int) -> Any:
    return layers.Dense(width, activation=ACTIVATIONS[pick % 3], use_bias=pick % 2 == 0)(tensors[pick % len(tensors)])


def _sum(tensors: list[Any], width: int, pick: int) -> Any:
    one, other = layers.Dense(width)(tensors[pick % len(tensors)]), layers.Dense(width)(tensors[-1])
    return layers.Activation("relu")(layers.Add()([one, other]))


def _residual(tensors: list[Any], width: int, pick: int) -> Any:
    x = tensors[pick % len(tensors)]
    return layers.Add()([x, layers.Multiply()([x, layers.Dense(x.shape[-1])(x)])])


def _shared(tensors: list[Any], width: int, pick: int) -> Any:
    x = layers.Dense(width, activation="tanh")(tensors[pick % len(tensors)])
    again = layers.Dense(width, activation="relu")
    return layers.Concatenate()([again(x), again(again(x))])


def _nested(tensors: list[Any], width: int, pick: int) -> Any:
    x = tensors[pick % len(tensors)]
    inner = keras.Input(x.shape[1:])
    hidden = layers.Dense(width, activation="relu", name="inner")(inner)
    return keras.Model(inner, layers.Dense(width, name="outer")(hidden), name=f"tower_{len(tensors)}")(x)


def _normalized(tensors: list[Any], width: int, pick: int) -> Any:
    x = layers.Dense(width, use_bias=False)(tensors[pick % len(tensors)])
    return layers.Dropout(0.3)(layers.ReLU()(layers.BatchNormalization()(x)))


def _masked(ids: Any, num_rows: int, width: int, pick: int) -> Any:
    """A mean over rows of ids, padding left out; the ids above them are none, so that something is left."""
    rows = [layers.Embedding(num_rows + 1, 4, mask_zero=True)(one) for one in (ids, ids + 1)]
    hidden = layers.Dense(width, activation=ACTIVATIONS[pick % 3])(layers.Concatenate(axis=1)(rows))
    return layers.GlobalAveragePooling1D()(layers.PReLU(shared_axes=[1])(hidden) if pick % 2 else hidden)


def _frozen(tensors: list[Any], width: int, pick: int) -> Any:
    return layers.Dense(width, activation="relu", trainable=False)(tensors[pick % len(tensors)])


def _positive(tensors: list[Any], width: int, pick: int) -> Any:
    return layers.Dense(width, activation="relu", kernel_constraint="non_neg")(tensors[pick % len(tensors)])


STEPS: Mapping[str, Callable[[list[Any], int, int], Any]] = {
    "dense": _dense,
    "sum": _sum,
    "residual": _residual,
    "shared": _shared,
    "nested": _nested,
    "normalized": _normalized,
}
RARE: Mapping[str, Callable[[list[Any], int, int], Any]] = {"frozen": _frozen, "positive": _positive}
MASKED = "masked"  # it reads ids
THREE_AXES = "three axes"  # of the score
KINDS = (*sorted(STEPS) * 3, *RARE, MASKED, THREE_AXES)


def steps() -> st.SearchStrategy[list[Step]]:
    """What a network is made of: layers by kind, width and what they read."""
    return st.lists(st.tuples(st.sampled_from(KINDS), WIDTHS, st.integers(0, 30)), min_size=1, max_size=5)


def random_network(schema: Schema, drawn: Sequence[Step], seed: int = 0) -> Any:
    """Ids, a layer over their fields, the drawn layers, and a head over all that nobody read; spread weights.

    Kernels that may have no negative weight have zeros in their place.
    """
    keras.utils.set_random_seed(seed)
    ids = keras.Input((len(schema.id_columns),), dtype="int32", name="ids")
    num_rows = max(schema.tables.values())
    fields = layers.Embedding(num_rows, 6, name="table")(ids)
    tensors = [layers.Flatten()(fields), layers.Flatten()(layers.Dense(5, name="over_fields")(fields))]
    for kind, width, pick in drawn:
        if kind == MASKED:
            tensors.append(_masked(ids, num_rows, width, pick))
        elif kind != THREE_AXES:
            tensors.append({**STEPS, **RARE}[kind](tensors, width, pick))
    logit = layers.Dense(1, name="logit")(layers.Concatenate()(tensors))
    if any(kind == THREE_AXES for kind, _, _ in drawn):
        logit = layers.Reshape((1, 1))(logit)
    model = keras.Model({"ids": ids}, layers.Activation("sigmoid", name="probability")(logit), name="random")
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        if "moving" not in weight.name and "gamma" not in weight.name:
            size = 0.4 if len(weight.shape) < 2 else float(np.prod(weight.shape[:-1])) ** -0.5
            values = generator.normal(0, 0.5 if "embeddings" in weight.name else size, weight.shape)
            weight.assign(np.maximum(values, 0) if weight.constraint is not None else values)
    return model
