"""What a file is worth: metrics, significance, and the value that holds them."""

from __future__ import annotations

from tfshop.evaluation.delong import AucDifference, auc_difference
from tfshop.evaluation.evaluation import Evaluation, TargetEvaluation
from tfshop.evaluation.metrics import Metrics, best_threshold, grouped_auc, measure, tie_rate

__all__ = [
    "AucDifference",
    "Evaluation",
    "Metrics",
    "TargetEvaluation",
    "auc_difference",
    "best_threshold",
    "grouped_auc",
    "measure",
    "tie_rate",
]
