"""Factorization-machine supported neural network: a tower that starts from a trained machine's embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop._keras import keras
from tfshop.data.schema import Schema
from tfshop.errors import ModelError
from tfshop.models.blocks import (
    click_inputs,
    click_model,
    embed_fields,
    flat_fields,
    numeric_columns,
    tower,
)
from tfshop.models.checks import require_fields


def build_fnn(
    schema: Schema,
    *,
    dimension: int = 16,
    hidden: Sequence[int] = (400, 400, 400),
    dropout: float = 0.0,
    machine: Any = None,
) -> Any:
    """A tower over each field's first-order weight and vector, both taken from a trained `fm` if one is given.

    Without `machine` the tables start at random: the paper's point is to train `fm` first, then this network from it.
    Units are ReLU, as in the other towers; the paper's are tanh.

    Args:
        schema: Fitted schema with a field or more.
        dimension: Width of the embedding table; a second table of width 1 holds the first-order weights.
        hidden: Widths of the tower.
        dropout: Share of units dropped while training, in [0, 1).
        machine: A trained `fm` of the same schema and dimension; it is left as it is.

    Returns:
        Functional model. Inputs: as `schema.input_specs()`. Output: `probability`, float32 (batch, 1).

    Raises:
        ModelError: For a schema without fields, or a machine of another shape.

    Example:
        >>> machine = build_fm(data.schema, dimension=8)  # doctest: +SKIP
        >>> train(machine, data, epochs=2)  # doctest: +SKIP
        >>> model = build_fnn(data.schema, dimension=8, machine=machine)  # doctest: +SKIP

    References:
        Zhang et al., Deep Learning over Multi-field Categorical Data, ECIR 2016.
    """
    require_fields(schema, "fnn", at_least=1)
    inputs = click_inputs(schema)
    weights = embed_fields(schema, inputs, 1, name="first_order")
    vectors = embed_fields(schema, inputs, dimension)
    fields = keras.layers.Concatenate(axis=2, name="weights_and_vectors")([weights, vectors])
    deep = tower(flat_fields(fields), numeric_columns(schema, inputs), hidden, dropout=dropout)
    model = click_model(inputs, [deep], name="fnn")
    if machine is not None:
        _start_from(model, machine)
    return model


def _start_from(model: Any, machine: Any) -> None:
    """Copy what both embed with: the two tables, and the projections of vectors."""
    theirs = {layer.name: layer for layer in machine.layers}
    embedding = [layer for layer in model.layers if layer.weights and layer.name.startswith(("table", "first_order"))]
    for layer in embedding:
        wanted = [weight.shape for weight in layer.get_weights()]
        found = [weight.shape for weight in theirs[layer.name].get_weights()] if layer.name in theirs else "nothing"
        if found != wanted:
            raise ModelError(
                f"machine {machine.name!r} has {found} for {layer.name!r}, the network {wanted}. Expected an fm of the "
                "same schema and dimension. Fix: machine=build_model('fm', schema, dimension=…), trained."
            )
    for layer in embedding:
        layer.set_weights(theirs[layer.name].get_weights())
