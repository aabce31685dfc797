"""Training: lazy Adam, early stopping, distillation losses."""

from __future__ import annotations

from tfshop.training.fit import FitSettings, fit, predict, train
from tfshop.training.history import Epoch, History
from tfshop.training.lazy_adam import LazyAdam
from tfshop.training.losses import DistillationLoss
from tfshop.training.retrieval import InBatchSoftmax, InBatchSoftmaxLoss, RetrievalHistory, train_two_tower

__all__ = [
    "DistillationLoss",
    "Epoch",
    "FitSettings",
    "History",
    "InBatchSoftmax",
    "InBatchSoftmaxLoss",
    "LazyAdam",
    "RetrievalHistory",
    "fit",
    "predict",
    "train",
    "train_two_tower",
]
