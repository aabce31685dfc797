"""One file a picture; each takes plain values and returns a matplotlib Figure."""

from __future__ import annotations

from tfshop.report.figures.accuracy_recall import draw_accuracy_recall
from tfshop.report.figures.auc_size import draw_auc_size
from tfshop.report.figures.bytes_by_part import draw_bytes_by_part
from tfshop.report.figures.calibration import draw_calibration
from tfshop.report.figures.latency_by_batch import draw_latency_by_batch
from tfshop.report.figures.roc_precision_recall import draw_roc_precision_recall
from tfshop.report.figures.sensitivity import draw_sensitivity
from tfshop.report.figures.table_frontier import draw_table_frontier
from tfshop.report.figures.training_curves import draw_training_curves

__all__ = [
    "draw_accuracy_recall",
    "draw_auc_size",
    "draw_bytes_by_part",
    "draw_calibration",
    "draw_latency_by_batch",
    "draw_roc_precision_recall",
    "draw_sensitivity",
    "draw_table_frontier",
    "draw_training_curves",
]
