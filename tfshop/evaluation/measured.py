"""Score a file on validation and test, and put every number into one value."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop.data.split import Splits
from tfshop.evaluation.delong import auc_difference
from tfshop.evaluation.evaluation import Evaluation
from tfshop.evaluation.metrics import best_threshold, measure
from tfshop.runtime import Latency, Scorer
from tfshop.runtime.sources import Source, model_bytes


@dataclass(frozen=True, eq=False)
class Measured:
    """A file with its scores: what pictures and paired comparisons need beyond the numbers.

    Attributes:
        content: Bytes of the `.tflite`.
        evaluation: The numbers.
        validation_scores: float32 (rows,), in the order of the validation split.
        test_scores: float32 (rows,), in the order of the test split.
    """

    content: bytes
    evaluation: Evaluation
    validation_scores: NDArray[np.float32]
    test_scores: NDArray[np.float32]

    def with_latency(self, latency: Latency) -> Measured:
        """The same file with its times."""
        return replace(self, evaluation=replace(self.evaluation, latency=latency))

    def with_notes(self, *notes: str) -> Measured:
        """The same file with more remarks."""
        return replace(self, evaluation=replace(self.evaluation, notes=(*self.evaluation.notes, *notes)))


def measure_file(name: str, source: Source, data: Splits, *, baseline: Measured | None = None) -> Measured:
    """Score a file on all rows of validation and test.

    The threshold for accuracy, precision, recall and F1 is chosen on validation. AUC differences are to `baseline`,
    paired by row.

    Args:
        name: What tables and pictures call it.
        source: Whatever `Scorer` takes.
        data: Splits with both classes in validation and test.
        baseline: The uncompressed file; None for that file itself.

    Raises:
        ScoringError: Where the file does not take the data, or gives something else than probabilities.
        ArtifactError: For a file that is damaged.
    """
    content = model_bytes(source)
    scorer = Scorer(content, schema=data.schema, num_threads=2)
    scores = {part: _probabilities(scorer, getattr(data, part)) for part in ("validation", "test")}
    threshold = best_threshold(data.validation.labels, scores["validation"])
    metrics = {
        part: measure(split.labels, scores[part], split.groups, threshold=threshold)
        for part, split in (("validation", data.validation), ("test", data.test))
    }
    differences: dict[str, Any] = {}
    if baseline is not None:
        differences = {
            "auc_difference_validation": auc_difference(
                data.validation.labels, scores["validation"], baseline.validation_scores
            ),
            "auc_difference_test": auc_difference(data.test.labels, scores["test"], baseline.test_scores),
        }
    evaluation = Evaluation(
        name=name,
        validation=metrics["validation"],
        test=metrics["test"],
        size_bytes=len(content),
        gzip_bytes=len(gzip.compress(content, compresslevel=6, mtime=0)),
        **differences,
    )
    return Measured(content, evaluation, scores["validation"], scores["test"])


def _probabilities(scorer: Scorer, split: Any) -> NDArray[np.float32]:
    scores = scorer.score_split(split)
    if isinstance(scores, dict):
        scores = scores["probability"] if "probability" in scores else next(iter(scores.values()))
    return np.asarray(scores, dtype=np.float32).reshape(-1)
