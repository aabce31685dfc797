"""Training for a moment after a network was changed, in place, with the zeros that it has."""

from __future__ import annotations

from typing import Any

from tfshop.compression.rebuild import KeepZeros, copy_model, zero_masks
from tfshop.compression.roles import layers_with
from tfshop.data.split import Splits
from tfshop.models.rebuild import fresh
from tfshop.training import FitSettings, History, fit


def fine_tuned(model: Any, data: Splits, settings: FitSettings) -> History:
    """Train a model in place; kernels that have zeros keep them.

    Args:
        model: Functional model without submodels.
        data: Splits.
        settings: How to train.
    """
    masks = zero_masks(model, layers_with(model, ("dense", "cross", "head")))
    if not masks:
        return fit(model, data, settings)

    def replace(layer: Any) -> Any:
        copied = fresh(layer)
        if layer.name in masks:
            copied.kernel_constraint = KeepZeros(masks[layer.name])
        return copied

    masked = copy_model(model, replace)
    history = fit(masked, data, settings)
    model.set_weights(masked.get_weights())
    return history
