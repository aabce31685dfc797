"""Functions of batches: a graph is made of them only where it is run often enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tfshop._keras import keras, tf
from tfshop.training.inputs import model_specs

FEW_BATCHES = 8  # these have run sooner than a graph of the same operators is traced


def for_batches(function: Callable[..., Any], model: Any, num_batches: int, *others: Any) -> Any:
    """The function in the form in which so many batches run through it soonest: as it is, or as a graph.

    The graph is traced once, for batches of any size; the last one is usually smaller. Both forms give the same, up
    to rounding.

    Args:
        function: Of a model's inputs by name, and of what `others` describes.
        model: Functional model that says what the inputs are.
        num_batches: How often the function will be called.
        *others: Specs of the arguments behind the inputs, such as `tf.TensorSpec((None, 1), tf.float32)`.

    Example:
        >>> sums = for_batches(lambda inputs: tf.reduce_sum(inputs["ids"]), model, 8)  # doctest: +SKIP
    """
    if is_few(num_batches):
        return function
    inputs = {name: tf.TensorSpec((None, *spec.shape), spec.dtype) for name, spec in model_specs(model).items()}
    return tf.function(function, input_signature=[inputs, *others])


def is_few(num_batches: int) -> bool:
    """Whether so many batches are better run without a graph."""
    return num_batches <= FEW_BATCHES


def is_of_keras(model: Any, *methods: str) -> bool:
    """Whether methods of a model are those of `keras.Model`, overridden neither in its class nor in itself."""
    return all(getattr(getattr(model, name), "__func__", None) is getattr(keras.Model, name) for name in methods)


def is_distributed(model: Any) -> bool:
    """Whether a model, or what is done now, belongs to a `tf.distribute` strategy."""
    return tf.distribute.has_strategy() or model.distribute_strategy is not tf.distribute.get_strategy()
