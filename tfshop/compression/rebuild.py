"""Copies of functional models with other layers in place of some; zeros that stay zero."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfshop._keras import keras
from tfshop.compression.roles import unwrapped
from tfshop.models.rebuild import Replace, inlined, rebuild


def copy_model(model: Any, replace: Replace | None = None) -> Any:
    """A model of the same graph whose layers are made by `replace`, with the weights of the original.

    Args:
        model: Functional model; left as it is. Layers of submodels stand in their place in the copy.
        replace: Takes a layer, returns what to put in its place: a fresh copy, a wrapper around one, or several layers
            to call one after the other.

    Raises:
        ModelError: For a layer that cannot be copied.
    """
    return rebuild(model if replace is None else inlined(model), replace)


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
