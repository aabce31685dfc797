"""Pruning while training by TF-MOT's wrappers: what they can do is left to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tfshop._keras import keras
from tfshop.compression._tfmot import sparsity as tfmot_sparsity
from tfshop.compression.kernels import Kernel, kernel_variables, kernels_of
from tfshop.compression.patterns import Pattern
from tfshop.compression.rebuild import copy_model
from tfshop.compression.roles import carries_mask, unwrapped
from tfshop.compression.schedules import Rise
from tfshop.models.rebuild import copy_weights, fresh

_SINGLE_INPUT = (keras.layers.Dense, keras.layers.EinsumDense, keras.layers.Embedding)


def tfmot_can(model: Any, names: tuple[str, ...], pattern: Pattern, schedule: str) -> bool:
    """Whether TF-MOT's wrapper gives what is asked of the named layers, one threshold a kernel, by magnitude.

    It calls layers with one argument, or with a mask whether they take one or not, and gives none on; it pools blocks
    of plain matrices alone, sets groups at the first step whatever the schedule says, and lets weights that were zero
    before come back.
    """
    layers = [unwrapped(model.get_layer(name)) for name in names]
    if not all(isinstance(layer, _SINGLE_INPUT) for layer in layers) or (pattern.is_grouped and schedule != "constant"):
        return False
    if any(carries_mask(model.get_layer(name), model) for name in names):
        return False
    kernels = [kernel_variables(layer)[0].numpy() for layer in layers]
    return not any((kernel == 0).any() for kernel in kernels) and all(_can_lay(pattern, k.shape) for k in kernels)


def _can_lay(pattern: Pattern, shape: tuple[int, ...]) -> bool:
    """Whether TF-MOT can lay a pattern on a kernel: it squeezes it before and after it pools blocks."""
    if not pattern.needs_matrix:
        return True
    plain = len(shape) == 2  # noqa: PLR2004  (rows and columns)
    return plain and (pattern.is_grouped or all(size > block for size, block in zip(shape, pattern.block, strict=True)))


class TfmotPruning:
    """A copy of a model in wrappers that prune it as it trains.

    Args:
        model: Functional model without submodels.
        sparsities: Layer to its sparsity at the end.
        pattern: Where zeros may lie.
        rise: How sparsity rises over the steps.
    """

    def __init__(self, model: Any, sparsities: Mapping[str, float], pattern: Pattern, rise: Rise) -> None:
        self._original = model
        self._layers: dict[str, Any] = {}
        how = {"sparsity_m_by_n": (pattern.group - pattern.kept, pattern.group)} if pattern.is_grouped else {}

        def wrapped(layer: Any) -> Any:
            copied = fresh(layer)
            if layer.name in sparsities:
                _declare_kernel(copied)
                copied = tfmot_sparsity.prune_low_magnitude(
                    copied,
                    pruning_schedule=_schedule(rise, _reachable(sparsities[layer.name], layer)),
                    block_size=pattern.block,
                    **how,
                )
            return self._layers.setdefault(layer.name, copied)

        self.model = copy_model(model, wrapped)
        self.wrappers = [layer for layer in self.model.layers if hasattr(layer, "pruning_obj")]

    def callbacks(self) -> tuple[Any, ...]:
        """What tells the wrappers the number of the step."""
        return (tfmot_sparsity.UpdatePruningStep(),)

    def kernels(self) -> list[Kernel]:
        """The kernels that are pruned, in their wrappers."""
        originals = kernels_of(self._original, [wrapper.layer.name for wrapper in self.wrappers]).values()
        held = (wrapper.pruning_vars[0][0] for wrapper in self.wrappers)
        return [replace(kernel, variable=variable) for kernel, variable in zip(originals, held, strict=True)]

    def share(self) -> float:
        """Share of masked weights."""
        masks = [mask for wrapper in self.wrappers for _, mask, _ in wrapper.pruning_vars]
        kept = sum(float(keras.backend.sum(mask)) for mask in masks)
        return 1.0 - kept / sum(int(np.prod(mask.shape)) for mask in masks)

    def stripped(self) -> Any:
        """The plain model with the weights as they are now; TF-MOT's products leave -0.0, which packs badly."""
        plain = copy_model(self._original)
        for name, layer in self._layers.items():
            copy_weights(layer, plain.get_layer(name))
        for kernel in kernels_of(plain, [wrapper.layer.name for wrapper in self.wrappers]).values():
            kernel.variable.assign(kernel.variable.numpy() + np.float32(0))
        return plain


def _declare_kernel(layer: Any) -> None:
    """TF-MOT's table lacks EinsumDense and subclasses of Embedding, but it believes what a layer says of itself."""
    name = "embeddings" if isinstance(layer, keras.layers.Embedding) else "kernel"
    layer.get_prunable_weights = lambda: [getattr(layer, name)]


def _reachable(sparsity: float, layer: Any) -> float:
    """TF-MOT keeps one weight at least, and takes no sparsity of 1."""
    return min(sparsity, 1.0 - 1.0 / int(np.prod(kernel_variables(layer)[0].shape)))


def _schedule(rise: Rise, sparsity: float) -> Any:
    """TF-MOT schedule whose last mask update lies inside the run."""
    if rise.is_flat:
        return tfmot_sparsity.ConstantSparsity(sparsity, begin_step=0, end_step=-1, frequency=rise.every)
    return tfmot_sparsity.PolynomialDecay(
        initial_sparsity=0.0, final_sparsity=sparsity, begin_step=0, end_step=rise.end, frequency=rise.every
    )
