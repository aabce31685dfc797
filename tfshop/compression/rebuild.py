"""Copies of functional models with other layers in place of some; zeros that stay zero."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from tfshop._keras import keras, tf
from tfshop.compression.roles import unwrapped
from tfshop.models.rebuild import Replace, copy_weights, fresh, inlined, rebuild


def copy_model(model: Any, replace: Replace | None = None, *, unfilled: Collection[str] = ()) -> Any:
    """A model of the same graph whose layers are made by `replace`, with the weights of the original.

    Args:
        model: Functional model; left as it is. Layers of submodels stand in their place in the copy.
        replace: Takes a layer, returns what to put in its place: a fresh copy, a wrapper around one, or several layers
            to call one after the other.
        unfilled: Names of layers whose weights stay behind, because what takes their place has other shapes.

    Raises:
        ModelError: For a layer that cannot be copied.
    """
    return rebuild(model if replace is None else inlined(model), replace, unfilled=unfilled)


def with_factors(model: Any, factors: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Any:
    """The model with two layers in the place of each named one: `<name>_in`, linear and without bias, then `<name>`.

    Args:
        model: Functional model without submodels; left as it is.
        factors: Name of a Dense layer to the kernels (inputs, rank) and (rank, outputs).
    """
    taken = {layer.name for layer in model.layers}
    firsts = {name: _free_name(f"{name}_in", taken) for name in factors}

    def replace(layer: Any) -> Any:
        second = fresh(layer)
        if layer.name not in factors:
            return second
        second.kernel_constraint = None  # it was made for another shape
        first = keras.layers.Dense(
            factors[layer.name][0].shape[1],
            use_bias=False,
            kernel_regularizer=second.kernel_regularizer,
            trainable=layer.trainable,
            name=firsts[layer.name],
        )
        return first, second

    made = copy_model(model, replace, unfilled=tuple(factors))
    for name, (first, second) in factors.items():
        made.get_layer(firsts[name]).set_weights([first])
        made.get_layer(name).set_weights([second, *model.get_layer(name).get_weights()[1:]])
    return made


def take_over(old: Any, new: Any) -> None:
    """Give a layer that does not train the weights of the old one; one of other shapes has fresh ones, and trains."""
    if [weight.shape for weight in old.weights] == [weight.shape for weight in new.weights]:
        copy_weights(old, new)
    else:
        new.trainable = True


def _free_name(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_1"
    taken.add(name)
    return name


@keras.utils.register_keras_serializable(package="tfshop")
class KeepZeros(keras.constraints.Constraint):
    """Multiply a kernel by a 0/1 mask after every step.

    Args:
        mask: float32 of the kernel's shape.
        before: Constraint that the kernel had already: it goes first.
    """

    def __init__(self, mask: np.ndarray, before: Any = None) -> None:
        self.mask = np.asarray(mask, dtype=np.float32)
        self.before = keras.constraints.get(before)

    def __call__(self, weights: Any) -> Any:
        """The weights with their zeros put back."""
        allowed = weights if self.before is None else self.before(weights)
        return tf.where(self.mask != 0, allowed, tf.zeros_like(allowed))  # a product leaves -0.0

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"mask": self.mask.tolist(), "before": keras.constraints.serialize(self.before)}


def zero_masks(model: Any, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Masks of the kernels that have zeros to keep; biases and untouched kernels are not listed."""
    kernels = {name: unwrapped(model.get_layer(name)).kernel.numpy() for name in names}
    return {name: (kernel != 0).astype(np.float32) for name, kernel in kernels.items() if (kernel == 0).any()}
