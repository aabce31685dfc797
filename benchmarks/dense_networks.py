"""The networks that `dense.py` makes smaller, and the smaller ones that stand beside them as controls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tfshop as ts
from tfshop._keras import keras
from tfshop.data import Schema
from tfshop.layers import MaskedMean

DIMENSION = 16
WIDE = (400, 400, 400)
Build = Callable[[Schema, Sequence[int], int], Any]


def settings_of(name: str, hidden: Sequence[int]) -> dict[str, Any]:
    """Hyperparameters of a network of ours; a small one has one cross: three weigh more than its tower."""
    fewer = {"num_crosses": 1} if name == "dcn" and tuple(hidden) != WIDE else {}
    return {"dimension": DIMENSION, "hidden": tuple(hidden), **fewer}


def _ours(name: str) -> Build:
    def build(schema: Schema, hidden: Sequence[int], seed: int) -> Any:
        return ts.build_model(name, schema, **settings_of(name, hidden), seed=seed)

    return build


def someone_elses(schema: Schema, hidden: Sequence[int], seed: int) -> Any:
    """An `Embedding` a feature, a `Dot` of user and product, a `Multiply` of product and history, BatchNormalization.

    Args:
        schema: Fitted schema of promotion response.
        hidden: Widths of the tower.
        seed: Of the weights.
    """
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    tables = {name: layers.Embedding(rows, DIMENSION, name=f"embed_{name}") for name, rows in schema.tables.items()}
    inputs, fields = {}, {}
    for feature in schema.id_features:
        inputs[feature.name] = keras.Input((1,), dtype="int32", name=feature.name)
        fields[feature.name] = layers.Flatten()(tables[feature.table_name](inputs[feature.name]))
    for feature in schema.sequence_features:
        ids = keras.Input((feature.max_length,), dtype="int32", name=feature.input_name)
        inputs[feature.input_name] = ids
        fields[feature.input_name] = layers.Flatten()(MaskedMean()([tables[feature.table_name](ids), ids]))
    first, second, *_ = fields.values()
    *_, last = fields.values()
    match = layers.Dot(axes=1, name="match")([first, second])
    product = layers.Multiply(name="product")([second, last])
    x = layers.Concatenate(name="joined")([*fields.values(), product, match])
    for position, width in enumerate(hidden):
        x = layers.Dense(width, use_bias=False, name=f"fc{position}")(x)
        x = layers.BatchNormalization(name=f"norm{position}")(x)
        x = layers.ReLU(name=f"relu{position}")(x)
    logit = layers.Dense(1, name="logit")(x)
    return keras.Model(inputs, layers.Activation("sigmoid", name="probability")(logit), name="someone_elses")


NETWORKS: Mapping[str, Build] = {
    "mlp": _ours("mlp"),
    "dcn": _ours("dcn"),
    "deepfm": _ours("deepfm"),
    "someone_elses": someone_elses,
}
