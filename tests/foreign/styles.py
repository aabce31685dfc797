"""Click networks in the styles people write them in: small, untrained, one function a style."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfshop._keras import keras, tf
from tfshop.data import Schema

layers = keras.layers
NUMERIC = "price"


@keras.utils.register_keras_serializable(package="shop")
class Registered(layers.Layer):
    """A custom layer with weights, registered, with a config."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape: Any) -> None:
        self.matrix = self.add_weight(name="matrix", shape=(input_shape[-1], self.units), initializer="glorot_uniform")

    def call(self, inputs: Any) -> Any:
        return tf.nn.relu(tf.matmul(inputs, self.matrix))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


class Unregistered(layers.Layer):
    """Biases scaled by a constant: known to whoever wrote it alone."""

    def __init__(self, scale: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale

    def build(self, input_shape: Any) -> None:
        self.shift = self.add_weight(name="shift", shape=(input_shape[-1],), initializer="ones")

    def call(self, inputs: Any) -> Any:
        return inputs * self.scale + self.shift

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}


def soft_relu(values: Any) -> Any:
    """An activation that Keras knows nothing of."""
    return tf.nn.relu(values) * 0.9 + values * 0.1


def id_inputs(schema: Schema, shape: tuple[int, ...] = (1,), dtype: str = "int32") -> dict[str, Any]:
    return {f.name: keras.Input(shape, dtype=dtype, name=f.name) for f in schema.id_features}


def embedded(schema: Schema, inputs: Mapping[str, Any], width: int = 4) -> list[Any]:
    """One Embedding and one Flatten a feature, as tutorials do it."""
    return [
        layers.Flatten()(layers.Embedding(schema.tables[name], width, name=f"table_{name}")(tensor))
        for name, tensor in inputs.items()
    ]


def plain(schema: Schema) -> Any:
    inputs = id_inputs(schema)
    hidden = layers.Concatenate()(embedded(schema, inputs))
    hidden = layers.Dense(16, activation="relu", name="first")(hidden)
    hidden = layers.Dense(8, activation="relu", name="second")(hidden)
    return keras.Model(list(inputs.values()), layers.Dense(1, activation="sigmoid", name="click")(hidden))


def scalar_inputs(schema: Schema) -> Any:
    """Inputs of shape (batch,), int64."""
    inputs = id_inputs(schema, (), "int64")
    parts = [layers.Embedding(schema.tables[name], 4)(tensor) for name, tensor in inputs.items()]
    hidden = layers.Dense(16, activation="relu", name="first")(layers.concatenate(parts))
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(hidden))


def interactions(schema: Schema) -> Any:
    """Dot, Multiply, Add and Subtract between embeddings."""
    inputs = id_inputs(schema)
    first, second, third = embedded(schema, inputs, 6)
    parts = [
        layers.Dot(axes=1)([first, second]),
        layers.Multiply()([first, third]),
        layers.Subtract()([second, third]),
        layers.Add()([first, second, third]),
        layers.Average()([first, second]),
    ]
    hidden = layers.Dense(16, activation="relu", name="first")(layers.Concatenate()(parts))
    return keras.Model(list(inputs.values()), layers.Dense(1, activation="sigmoid", name="click")(hidden))


def factorization(schema: Schema) -> Any:
    """Matrix factorization with biases: a Dot of towers, no layer of its own before the sigmoid."""
    inputs = id_inputs(schema)
    first, second, third = embedded(schema, inputs, 6)
    users = layers.Dense(8, name="users")(layers.Concatenate()([first, third]))
    items = layers.Dense(8, name="items")(second)
    score = layers.Dot(axes=1)([users, items])
    bias = layers.Flatten()(layers.Embedding(schema.tables["id_1"], 1)(inputs["id_1"]))
    return keras.Model(list(inputs.values()), layers.Activation("sigmoid")(layers.Add()([score, bias])))


def with_lambda(schema: Schema) -> Any:
    inputs = id_inputs(schema)
    factor = 0.5  # a closure: gone where only the bytecode is kept
    parts = [
        layers.Lambda(lambda x: tf.squeeze(x, 1) * factor)(layers.Embedding(schema.tables[n], 4)(t))
        for n, t in inputs.items()
    ]
    joined = layers.Lambda(lambda xs: tf.concat(xs, axis=1), name="join")(parts)
    hidden = layers.Dense(16, activation="relu", name="first")(joined)
    hidden = layers.Lambda(lambda x: x * 2.0, name="twice")(hidden)
    hidden = layers.Dense(8, activation="relu", name="second")(hidden)
    return keras.Model(list(inputs.values()), layers.Dense(1, activation="sigmoid")(hidden))


def with_tf_ops(schema: Schema) -> Any:
    """Operators and slices straight on tensors."""
    inputs = id_inputs(schema)
    first, second, third = (layers.Embedding(schema.tables[n], 4)(t)[:, 0, :] for n, t in inputs.items())
    joined = tf.concat([first * second, tf.math.abs(third), first - third], axis=-1)
    hidden = layers.Dense(16, name="first")(joined)
    hidden = tf.nn.relu(hidden + 0.1)
    hidden = layers.Dense(8, activation="relu", name="second")(hidden)
    wide = tf.reduce_sum(first * second, axis=1, keepdims=True)
    logit = layers.Dense(1, name="last")(hidden) + wide
    return keras.Model(list(inputs.values()), tf.sigmoid(logit))


def normalized(schema: Schema) -> Any:
    """BatchNormalization, Dropout, LayerNormalization and PReLU, with a raw number beside the ids."""
    inputs = {**id_inputs(schema), NUMERIC: keras.Input((1,), name=NUMERIC)}
    parts = embedded(schema, {n: inputs[n] for n in inputs if n != NUMERIC})
    number = layers.BatchNormalization(momentum=0.8, name="number")(inputs[NUMERIC])
    hidden = layers.Concatenate()([*parts, number])
    hidden = layers.Dense(16, name="first", use_bias=False)(hidden)
    hidden = layers.Activation("relu")(layers.BatchNormalization(momentum=0.8, name="norm")(hidden))
    hidden = layers.Dropout(0.2)(hidden)
    hidden = layers.PReLU(name="prelu")(layers.Dense(12, name="second")(hidden))
    hidden = layers.LeakyReLU()(layers.Dense(8, name="third")(hidden))
    hidden = layers.LayerNormalization(name="layer_norm")(hidden)
    return keras.Model(list(inputs.values()), layers.Dense(1, activation="sigmoid", name="click")(hidden))


def shared_layers(schema: Schema) -> Any:
    """One Dense and one Embedding, each called twice."""
    inputs = id_inputs(schema)
    table = layers.Embedding(max(schema.tables.values()), 6, name="table")
    first, second, third = (layers.Flatten()(table(t)) for t in inputs.values())
    tower = layers.Dense(8, activation="relu", name="tower")
    one, other = tower(first), tower(second)
    hidden = layers.Dense(8, activation="relu", name="second")(layers.Concatenate()([one, other, third]))
    return keras.Model(list(inputs.values()), layers.Dense(1, activation="sigmoid")(hidden))


def shared_tower(schema: Schema) -> Any:
    """One submodel, called twice."""
    inputs = id_inputs(schema)
    table = layers.Embedding(max(schema.tables.values()), 6, name="table")
    x = keras.Input((6,))
    inner = layers.Dense(8, activation="relu", name="inner")(x)
    tower = keras.Model(x, layers.Dense(4, name="outer")(inner), name="tower")
    first, second, third = (tower(layers.Flatten()(table(t))) for t in inputs.values())
    score = layers.Dot(axes=1, normalize=True)([first, second])
    hidden = layers.Dense(8, activation="relu", name="second")(layers.Concatenate()([score, first, second, third]))
    return keras.Model(list(inputs.values()), layers.Dense(1, activation="sigmoid")(hidden))


def nested(schema: Schema) -> Any:
    """Functional inside functional, and a Sequential whose layer names are those of the outer network."""
    inputs = id_inputs(schema)
    width = 4 * len(inputs)
    x = keras.Input((width,))
    deep = layers.Dense(16, activation="relu", name="first")(x)
    inner = keras.Model(x, layers.Dense(8, activation="relu", name="second")(deep), name="inner")
    y = keras.Input((width,))
    middle = keras.Model(y, layers.Dense(8, activation="relu", name="first")(inner(y)), name="middle")
    head = keras.Sequential(
        [layers.Dense(8, activation="relu", name="first"), layers.Dropout(0.1), layers.Dense(1, activation="sigmoid")],
        name="head",
    )
    hidden = middle(layers.Concatenate()(embedded(schema, inputs)))
    hidden = layers.Dense(8, activation="relu", name="first")(hidden)
    return keras.Model(list(inputs.values()), head(hidden), name="nested")


def two_inputs_a_submodel(schema: Schema) -> Any:
    """A submodel that takes a dict of inputs and gives two tensors."""
    inputs = id_inputs(schema)
    inner_inputs = {name: keras.Input((1,), dtype="int32", name=name) for name in inputs}
    parts = embedded(schema, inner_inputs)
    encoder = keras.Model(
        inner_inputs, {"sum": layers.Add()(parts), "all": layers.Concatenate()(parts)}, name="encoder"
    )
    outputs = encoder(inputs)
    hidden = layers.Dense(8, activation="relu", name="first")(layers.Concatenate()([outputs["sum"], outputs["all"]]))
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(hidden))


def sequential(schema: Schema) -> Any:
    """Packed ids through one Sequential."""
    return keras.Sequential(
        [
            keras.Input((len(schema.id_features),), dtype="int32", name="ids"),
            layers.Embedding(max(schema.tables.values()), 4),
            layers.Flatten(),
            layers.Dense(16, activation="relu", name="first"),
            layers.Dense(1, activation="sigmoid"),
        ]
    )


def custom_layers(schema: Schema) -> Any:
    inputs = id_inputs(schema)
    hidden = Registered(12, name="registered")(layers.Concatenate()(embedded(schema, inputs)))
    hidden = layers.Dense(16, activation=soft_relu, name="first")(hidden)
    hidden = Unregistered(3.0, name="unregistered")(hidden)
    hidden = layers.Dense(8, activation="relu", name="second")(hidden)
    return keras.Model(list(inputs.values()), layers.Dense(1, activation="sigmoid", name="click")(hidden))


def wide_and_deep(schema: Schema) -> Any:
    """Packed ids cut apart inside, a number beside them, the wide half joined at the logit."""
    ids = keras.Input((len(schema.id_features),), dtype="int32", name="ids")
    number = keras.Input((1,), name=NUMERIC)
    tables = list(schema.tables.values())
    parts = [layers.Embedding(size, 4)(ids[:, i]) for i, size in enumerate(tables)]
    deep = layers.Concatenate()([*parts, tf.math.log1p(tf.nn.relu(number))])
    deep = layers.Dense(16, activation="relu", name="first")(deep)
    deep = layers.Dense(1, name="deep")(layers.Dense(8, activation="relu", name="second")(deep))
    wide = layers.Add()([layers.Embedding(size, 1)(ids[:, i]) for i, size in enumerate(tables)])
    return keras.Model([ids, number], layers.Activation("sigmoid")(wide + deep))


def attention(schema: Schema) -> Any:
    """Fields as a sequence through MultiHeadAttention and GlobalAveragePooling."""
    inputs = id_inputs(schema)
    fields = layers.Concatenate(axis=1)([layers.Embedding(schema.tables[n], 8)(t) for n, t in inputs.items()])
    attended = layers.MultiHeadAttention(2, 4, name="heads")(fields, fields)
    hidden = layers.LayerNormalization()(layers.Add()([fields, attended]))
    hidden = layers.GlobalAveragePooling1D()(hidden)
    hidden = layers.Dense(8, activation="relu", name="first")(hidden)
    return keras.Model(list(inputs.values()), layers.Dense(1, activation="sigmoid")(hidden))


def preprocessed(schema: Schema) -> Any:
    """A Normalization layer that has seen data, TimeDistributed Dense, a mask."""
    inputs = {**id_inputs(schema), NUMERIC: keras.Input((1,), name=NUMERIC)}
    scale = layers.Normalization(name="scale")
    scale.adapt(np.random.default_rng(0).lognormal(2, 1, (200, 1)))
    ids = {name: tensor for name, tensor in inputs.items() if name != NUMERIC}
    rows = [layers.Embedding(schema.tables[name], 8, mask_zero=True)(tensor) for name, tensor in ids.items()]
    fields = layers.Concatenate(axis=1)(rows)
    fields = layers.TimeDistributed(layers.Dense(6, activation="relu", name="timed_dense"), name="timed")(fields)
    hidden = layers.Concatenate()([layers.Flatten()(fields), scale(inputs[NUMERIC])])
    hidden = layers.Dense(8, activation="gelu", name="first")(hidden)
    return keras.Model(list(inputs.values()), layers.Dense(1, activation="sigmoid")(hidden))


STYLES: Mapping[str, Callable[[Schema], Any]] = {
    style.__name__: style
    for style in (
        plain,
        scalar_inputs,
        interactions,
        factorization,
        with_lambda,
        with_tf_ops,
        normalized,
        shared_layers,
        shared_tower,
        nested,
        two_inputs_a_submodel,
        sequential,
        custom_layers,
        wide_and_deep,
        attention,
        preprocessed,
    )
}
