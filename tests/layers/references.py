"""What tests of layers ask: a function of tensors as a model with random weights, and its weights by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfshop._keras import keras


def random_model(function: Callable[..., Any], shapes: Sequence[tuple[int, ...]], *, seed: int = 0) -> Any:
    """A model of `function` over inputs of the given shapes (without the batch), every weight normal."""
    inputs = [keras.Input(shape) for shape in shapes]
    model = keras.Model(inputs, function(*inputs))
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0, 0.7, weight.shape) for weight in model.get_weights()])
    return model


def normal(*shape: int, seed: int = 1) -> np.ndarray:
    """Standard normal float32."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def sigmoid(values: Any) -> Any:
    return 1 / (1 + np.exp(-values))


def softmax(values: Any, axis: int = -1) -> Any:
    exponentials = np.exp(values - values.max(axis=axis, keepdims=True))
    return exponentials / exponentials.sum(axis=axis, keepdims=True)


def relu(values: Any) -> Any:
    return np.maximum(values, 0)
