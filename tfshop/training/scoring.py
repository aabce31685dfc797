"""Scores of a Keras model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from tfshop import _console
from tfshop._keras import tf
from tfshop.data.binding import bind
from tfshop.data.reading import Rows
from tfshop.data.split import Split
from tfshop.training.inputs import model_specs
from tfshop.training.outputs import arrange_outputs
from tfshop.training.progress import PredictionLine
from tfshop.training.tracing import is_distributed, is_few, is_of_keras

SCORING_BATCH = 8192


def predict(model: Any, split: Split, *, description: str | None = None) -> NDArray[np.float32]:
    """Score a split with a Keras model, float32 (rows,), in the order of the split; (rows, targets) of several."""
    return columns_of(outputs_of(arrange_outputs(model, split.schema), split, description=description))


def outputs_of(model: Any, split: Split, *, description: str | None = None) -> Any:
    """What a functional model gives for the rows of a split, in their order, as `model.predict` has it.

    A few batches are run as they are: a graph, which Keras traces anew for each model and after each `compile`, takes
    longer. The scores are the same up to rounding.

    Args:
        model: A distributed one, and one with a `predict` of its own, is left to it.
        split: Whose labels are not read.
        description: What the progress line says; None for no line.
    """
    rows = split.with_batch_size(SCORING_BATCH)
    plain = is_of_keras(model, "predict", "make_predict_function", "predict_step") and not is_distributed(model)
    if not plain or not rows.num_rows or not is_few(rows.num_batches):
        bar = [] if description is None else [PredictionLine(description, rows.num_batches)]
        return model.predict(rows.batches(inputs=model_specs(model)), verbose=0, callbacks=bar)
    with _line(description, rows.num_batches) as advance:
        return _run(model, rows, advance)


def _run(model: Any, split: Split, advance: Callable[..., None]) -> Any:
    """Outputs of all batches, none of which is held longer than it runs."""
    specs, parts = model_specs(model), []
    for arrays in Rows([*split.inputs.values()], split.batch_size).in_order():
        inputs = bind(dict(zip(split.inputs, arrays, strict=True)), split.schema, specs)
        parts.append(tf.nest.map_structure(lambda output: output.numpy(), model(inputs, training=False)))
        advance()
    return tf.nest.map_structure(lambda *found: np.concatenate(found), *parts)


def _line(description: str | None, steps: int) -> AbstractContextManager[Callable[..., None]]:
    return nullcontext(lambda: None) if description is None else _console.progress(description, steps)


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
