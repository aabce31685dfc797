"""Fine-tuning on the scores of the network that came in, beside the labels.

A click network overfits after few epochs. One epoch more on labels alone, which any fine-tuning is, makes it worse
whatever else a pass did to it; its own earlier scores hold it back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tfshop.compression.teacher_scores import soft_targets
from tfshop.data.split import Splits
from tfshop.training import DistillationLoss, FitSettings, History, fit

SELF_SHARE = 0.9  # of the loss, for the scores of the model that came in


def fine_tuned(model: Any, teacher: Any, data: Splits, settings: FitSettings, *, distill: bool = True) -> History:
    """Fit a changed network in place, on the scores it had before.

    Args:
        model: What became of the teacher; its outputs are probabilities.
        teacher: The network that came in.
        data: Splits; the training rows are scored once.
        settings: How to fit; the loss is replaced where `distill`.
        distill: Whether the teacher's scores are learned from, or the labels alone.

    References:
        Hinton et al., Distilling the Knowledge in a Neural Network, 2015. Furlanello et al., Born-Again Neural
        Networks, ICML 2018.
    """
    if not distill:
        return fit(model, data, settings)
    taught = replace(settings, loss=DistillationLoss(SELF_SHARE, from_logits=False))
    return fit(model, data, taught, train_split=soft_targets([teacher], data.train))
