"""TF-MOT's wrappers as networks of others need them: masks pass through, and what is frozen holds still."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras
from tfshop.compression._tfmot import ClusterWeights, QuantizeWrapperV2


class _LikeItsLayer(keras.layers.Wrapper):
    """A wrapper that treats a mask as its layer does, and trains nothing where that is frozen.

    TF-MOT's own hand a mask to layers that take none and give none on, and train what they have taken from a layer,
    or made for it, whether it is trainable or not.
    """

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """What the layer gives; it gets the mask where it takes one."""
        taken = {"mask": mask} if mask is not None and self.layer._expects_mask_arg else {}
        return super().call(inputs, training=training, **taken)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """That of the layer."""
        return self.layer.compute_mask(inputs, mask) if self.layer.supports_masking else None

    @property
    def trainable_weights(self) -> list[Any]:
        """None where the layer is frozen."""
        free: list[Any] = super().trainable_weights
        return free if self.layer.trainable else []

    @property
    def non_trainable_weights(self) -> list[Any]:
        """All where the layer is frozen."""
        held: list[Any] = [] if self.layer.trainable else super().trainable_weights
        weights: list[Any] = self._dedup_weights([*held, *super().non_trainable_weights])
        return weights


class RoundedLayer(_LikeItsLayer, QuantizeWrapperV2):
    """A layer that trains with rounding."""


class SharedLayer(_LikeItsLayer, ClusterWeights):
    """A layer whose kernels share a few numbers."""
