"""Training: lazy Adam, early stopping, distillation losses."""

from __future__ import annotations

from tfshop.training.fit import fit, train
from tfshop.training.history import Epoch, History
from tfshop.training.lazy_adam import LazyAdam
from tfshop.training.losses import DistillationLoss
from tfshop.training.retrieval import InBatchSoftmax, InBatchSoftmaxLoss, RetrievalHistory, train_two_tower
from tfshop.training.scoring import predict
from tfshop.training.settings import FitSettings

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
