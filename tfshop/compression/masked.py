"""Kernels of any layer kept at zero where a mask says so, while a model trains."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from tfshop._keras import keras, tf
from tfshop.compression.importance import Scores
from tfshop.compression.kernels import Kernel, kernels_of
from tfshop.compression.masks import Choice
from tfshop.compression.roles import unwrapped


class MaskedKernels:
    """Masks of kernels, applied in the graph after every step of an optimizer.

    TF-MOT wraps layers; here the variable itself is constrained, so that it does not matter what a layer does with it
    nor how it is called.

    Args:
        kernels: By name; weights that are zero now stay so.
    """

    def __init__(self, kernels: Mapping[str, Kernel]) -> None:
        self.kernels = kernels
        self._masks = {
            name: tf.Variable(kernel.variable.numpy() != 0, trainable=False, dtype=tf.bool)
            for name, kernel in kernels.items()
        }

    @contextmanager
    def held(self) -> Iterator[None]:
        """While this lasts, optimizers leave masked weights at zero."""
        before = {name: kernel.variable.constraint for name, kernel in self.kernels.items()}
        for name, kernel in self.kernels.items():
            kernel.variable._constraint = _constraint(self._masks[name], before[name])
        try:
            yield
        finally:
            for name, kernel in self.kernels.items():
                kernel.variable._constraint = before[name]

    def tighten(self, scores: Scores, choice: Choice, level: float) -> None:
        """Mask more weights; those that are masked stay masked.

        Args:
            scores: Of each weight.
            choice: How weights are chosen.
            level: Share of the way to the end, in [0, 1].
        """
        masks = self.masks()
        matrices = {
            name: kernel.matrix(np.where(masks[name], scores[name], -np.inf)) for name, kernel in self.kernels.items()
        }
        made = choice.masks(matrices, level)
        self.assign({name: kernel.shaped(made[name]) & masks[name] for name, kernel in self.kernels.items()})

    def assign(self, masks: Mapping[str, np.ndarray]) -> None:
        """Set masks, and the weights they mask to zero."""
        for name, kernel in self.kernels.items():
            self._masks[name].assign(masks[name])
            kernel.variable.assign(
                np.where(masks[name], kernel.variable.numpy(), np.float32(0))
            )  # a product leaves -0.0

    def masks(self) -> dict[str, np.ndarray]:
        """True where a weight stays."""
        return {name: mask.numpy() for name, mask in self._masks.items()}

    def share(self) -> float:
        """Share of masked weights."""
        kept = sum(int(np.count_nonzero(mask)) for mask in self.masks().values())
        return 1.0 - kept / sum(int(np.prod(kernel.variable.shape)) for kernel in self.kernels.values())


@contextmanager
def zeros_held(model: Any, but: Collection[str] = ()) -> Iterator[tuple[str, ...]]:
    """While this lasts, a model may train and weights of its kernels that are zero stay zero.

    Args:
        model: Functional model without submodels.
        but: Layers that are taken care of otherwise.

    Yields:
        Names of the layers that have zeros.
    """
    kernels = kernels_of(model, [layer.name for layer in model.layers if layer.name not in but])
    pruned = {name: kernel for name, kernel in kernels.items() if _has_zeros(model.get_layer(kernel.layer), kernel)}
    with MaskedKernels(pruned).held():
        yield tuple(dict.fromkeys(kernel.layer for kernel in pruned.values()))


def _has_zeros(layer: Any, kernel: Kernel) -> bool:
    """Whether a kernel was pruned; rows of a table that no example has asked for yet are no sign of it."""
    zeros = kernel.variable.numpy() == 0
    if isinstance(unwrapped(layer), keras.layers.Embedding):
        return bool((zeros.any(axis=1) & ~zeros.all(axis=1)).any())
    return bool(zeros.any())


def _constraint(mask: Any, before: Any) -> Any:
    def masked(values: Any) -> Any:
        allowed = values if before is None else before(values)
        return tf.where(mask, allowed, tf.zeros_like(allowed))

    return masked
