"""Copies of functional models: `clone_model` alone drops the weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tfshop._keras import keras
from tfshop.compression.roles import unwrapped

Replace = Callable[[Any], Any]


def fresh(layer: Any) -> Any:
    """A new layer with the same configuration and no weights."""
    return layer.__class__.from_config(layer.get_config())


def copy_model(model: Any, replace: Replace = fresh) -> Any:
    """A model of the same graph whose layers are made by `replace`, with the weights of the original.

    Args:
        model: Functional model; left as it is.
        replace: Takes a layer, returns the one to put in its place: a fresh copy, or a wrapper around one.
    """
    copied = keras.models.clone_model(model, clone_function=replace)
    for old, new in zip(model.layers, copied.layers, strict=True):
        _copy_weights(old, new)
    return copied


def _copy_weights(old: Any, new: Any) -> None:
    if not isinstance(new, keras.layers.Wrapper) or isinstance(old, type(new)):
        new.set_weights(old.get_weights())
        return
    wrapped = weights_by_name(new)
    for name, weight in weights_by_name(old).items():
        wrapped[name].assign(weight)


def weights_by_name(layer: Any) -> dict[str, Any]:
    """Variables of a layer by their last name, such as "kernel" and "bias".

    TF-MOT's wrapper takes the kernel away from the layer inside it, so that `layer.layer.get_weights()` lacks it.
    """
    return {variable.name.split("/")[-1].split(":")[0]: variable for variable in layer.variables}


@keras.utils.register_keras_serializable(package="tfshop")
class KeepZeros(keras.constraints.Constraint):
    """Multiply a kernel by a 0/1 mask after every step.

    Args:
        mask: float32 of the kernel's shape.
    """

    def __init__(self, mask: np.ndarray) -> None:
        self.mask = np.asarray(mask, dtype=np.float32)

    def __call__(self, weights: Any) -> Any:
        """The weights with their zeros put back."""
        return weights * self.mask

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"mask": self.mask.tolist()}


def zero_masks(model: Any, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Masks of the kernels that have zeros to keep; biases and untouched kernels are not listed."""
    kernels = {name: unwrapped(model.get_layer(name)).kernel.numpy() for name in names}
    return {name: (kernel != 0).astype(np.float32) for name, kernel in kernels.items() if (kernel == 0).any()}
