"""Scores of a Keras model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from tfshop.data.split import Split
from tfshop.training.inputs import model_specs
from tfshop.training.outputs import arrange_outputs
from tfshop.training.progress import PredictionLine

SCORING_BATCH = 8192


def predict(model: Any, split: Split, *, description: str | None = None) -> NDArray[np.float32]:
    """Score a split with a Keras model, float32 (rows,), in the order of the split; (rows, targets) of several."""
    model = arrange_outputs(model, split.schema)
    batches = split.with_batch_size(SCORING_BATCH).batches(inputs=model_specs(model))
    bar = [] if description is None else [PredictionLine(description, -(-split.num_rows // SCORING_BATCH))]
    return columns_of(model.predict(batches, verbose=0, callbacks=bar))


def mean_auc(model: Any, split: Split) -> float:
    """AUC of a Keras model on a split, the mean over targets."""
    scores = split.schema.by_target(predict(model, split))
    labels = split.labels_by_target
    return float(np.mean([roc_auc_score(labels[target], scores[target]) for target in labels]))


def columns_of(scores: Any) -> NDArray[np.float32]:
    """What Keras predicts as (rows,) of one output, (rows, outputs) of several."""
    if isinstance(scores, list):
        return np.concatenate([part.reshape(-1, 1) for part in scores], axis=1).astype(np.float32)
    return np.asarray(scores, dtype=np.float32).ravel()
