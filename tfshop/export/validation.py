"""How good a file is on validation, in one number, for what is searched while exporting."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.metrics import roc_auc_score

from tfshop.data.split import Splits
from tfshop.runtime import Scorer

MOST_ROWS = 131_072


def validation_auc(data: Splits) -> Callable[[bytes], float]:
    """A function that gives the AUC of a file on validation rows, the mean over the targets."""

    def auc(content: bytes) -> float:
        sample = data.validation.take(min(MOST_ROWS, data.validation.num_rows), seed=0)
        scores = Scorer(content, schema=data.schema).score_split(sample)
        labels = sample.labels_by_target
        by_target = scores if isinstance(scores, dict) else {data.schema.outputs[data.schema.targets[0]]: scores}
        names = data.schema.outputs
        found = [by_target.get(names[target], by_target.get(target)) for target in labels]
        return float(np.mean([roc_auc_score(labels[t], s) for t, s in zip(labels, found, strict=True)]))

    return auc
