"""Fine-tuning on the scores of the network that came in, beside the labels.

A click network overfits after few epochs. One epoch more on labels alone, which any fine-tuning is, makes it worse
whatever else a pass did to it; its own earlier scores hold it back.
"""

from __future__ import annotations

from typing import Any, Protocol

from tfshop.compression.teacher_scores import soft_targets
from tfshop.data.split import Splits
from tfshop.errors import PlanError
from tfshop.training import DistillationLoss, FitSettings, History, fit

SELF_SHARE = 0.9  # of the loss, for the scores of the model that came in


class FineTunes(Protocol):
    """What a pass that fine-tunes says about it."""

    @property
    def epochs(self) -> int:
        """Passes over the training rows."""

    @property
    def learning_rate(self) -> float:
        """Step size."""

    @property
    def distill(self) -> bool:
        """Whether the scores of the model that comes in are learned from, or the labels alone."""


def require_learners(model: Any, epochs: int, *, by: str) -> None:
    """Raise `PlanError` where a fine-tuning would change no weight.

    Args:
        model: Functional model without submodels.
        epochs: Of the fine-tuning; 0 for none.
        by: Name of the pass.
    """
    if epochs and not any(layer.trainable_weights for layer in model.layers):
        raise PlanError(
            f"{by} would train nothing: all layers of {model.name!r} are frozen. Expected some with trainable=True. "
            "Fix: model.trainable = True, then trainable = False on those layers alone that are to stay."
        )


def fine_tuned(model: Any, teacher: Any, data: Splits, step: FineTunes, **settings: Any) -> History:
    """Fit a changed network in place, on the scores it had before.

    Args:
        model: What became of the teacher; its outputs are probabilities.
        teacher: The network that came in.
        data: Splits; the training rows are scored once.
        step: The pass.
        **settings: More of `FitSettings`: `seed`, `description` …

    References:
        Hinton et al., Distilling the Knowledge in a Neural Network, 2015. Furlanello et al., Born-Again Neural
        Networks, ICML 2018.
    """
    how: dict[str, Any] = {"epochs": step.epochs, "learning_rate": step.learning_rate, "patience": None, **settings}
    if not step.distill:
        return fit(model, data, FitSettings(**how))
    loss = DistillationLoss(SELF_SHARE, from_logits=False)
    return fit(model, data, FitSettings(**how, loss=loss), train_split=soft_targets([teacher], data.train))
