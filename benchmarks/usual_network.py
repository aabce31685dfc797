"""The same network as it is usually built: an input and an Embedding for each field."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras
from tfshop.compression.roles import layers_with
from tfshop.data import Schema
from tfshop.layers import MaskedMean
from tfshop.models.lookup import table_starts


def usual_network(model: Any, schema: Schema) -> Any:
    """Build it with the weights of a trained `mlp`, so that both score alike and only the graphs differ.

    Args:
        model: From `build_model("mlp", …)`, over id and sequence features.
        schema: Its fitted schema.

    Returns:
        Functional tf_keras model with one input a feature, named after it; fields that share a table share a layer.
    """
    merged = model.get_layer("table").get_weights()[0]
    tables = {
        name: keras.layers.Embedding(rows, merged.shape[1], name=f"table_{name}")
        for name, rows in schema.tables.items()
    }
    inputs, fields = {}, []
    for feature in schema.id_features:
        inputs[feature.name] = keras.Input((1,), dtype="int32", name=feature.name)
        fields.append(tables[feature.table_name](inputs[feature.name]))
    for feature in schema.sequence_features:
        ids = keras.Input((feature.max_length,), dtype="int32", name=feature.input_name)
        inputs[feature.input_name] = ids
        fields.append(MaskedMean()([tables[feature.table_name](ids), ids]))
    hidden = keras.layers.Flatten()(keras.layers.Concatenate(axis=1)(fields))
    dense = [keras.layers.Dense.from_config(model.get_layer(name).get_config()) for name in _dense_names(model)]
    for layer in dense:
        hidden = layer(hidden)
    output = keras.layers.Activation("sigmoid", name="probability")(hidden)
    usual = keras.Model(inputs, output, name="usual")
    for name, start in table_starts(schema).items():
        tables[name].set_weights([merged[start : start + schema.tables[name]]])
    for layer in dense:
        layer.set_weights(model.get_layer(layer.name).get_weights())
    return usual


def _dense_names(model: Any) -> tuple[str, ...]:
    """The tower from below, then the head."""
    return layers_with(model, ("dense", "head"))
