"""Score a file on validation and test, and put every number into one value."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop.data.split import Split, Splits
from tfshop.evaluation.delong import auc_difference
from tfshop.evaluation.evaluation import Evaluation, TargetEvaluation
from tfshop.evaluation.metrics import best_threshold, measure
from tfshop.evaluation.scores import target_scores
from tfshop.runtime import Latency, Scorer
from tfshop.runtime.sources import Source, model_bytes


@dataclass(frozen=True, eq=False)
class Measured:
    """A file with its scores: what pictures and paired comparisons need beyond the numbers.

    Attributes:
        content: Bytes of the `.tflite`.
        evaluation: The numbers.
        validation_scores: float32 (rows,), in the order of the validation split; (rows, targets) of several targets.
        test_scores: float32 (rows,), in the order of the test split; (rows, targets) of several targets.
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
        ScoringError: Where the file does not take the data, gives something else than probabilities, or has no output
            for a target.
        ArtifactError: For a file that is damaged.
    """
    content = model_bytes(source)
    scorer = Scorer(content, schema=data.schema, num_threads=2)
    parts = {"validation": data.validation, "test": data.test}
    scores = {part: target_scores(scorer, split) for part, split in parts.items()}
    before: dict[str, Any] = {}
    if baseline is not None:
        before = {
            "validation": data.schema.by_target(baseline.validation_scores),
            "test": data.schema.by_target(baseline.test_scores),
        }
    found = {
        target: _measure_target(
            parts,
            target,
            {part: scores[part][target] for part in parts},
            {part: before[part][target] for part in before},
        )
        for target in data.schema.targets
    }
    evaluation = Evaluation(
        name=name,
        size_bytes=len(content),
        gzip_bytes=downloaded_bytes(content),
        **vars(found[data.schema.targets[0]]),
        targets=found if len(found) > 1 else {},
    )
    return Measured(content, evaluation, _columns(scores["validation"]), _columns(scores["test"]))


def downloaded_bytes(content: bytes) -> int:
    """Size of something as it is downloaded: gzipped."""
    return len(gzip.compress(content, compresslevel=6, mtime=0))


Scores = Mapping[str, NDArray[np.float32]]


def _measure_target(parts: Mapping[str, Split], target: str, scores: Scores, before: Scores) -> TargetEvaluation:
    """Metrics of one target on each part, and differences to the baseline's scores where there are any."""
    labels = {part: split.labels_by_target[target] for part, split in parts.items()}
    threshold = best_threshold(labels["validation"], scores["validation"])
    metrics = {p: measure(labels[p], scores[p], split.groups, threshold=threshold) for p, split in parts.items()}
    differences = {f"auc_difference_{p}": auc_difference(labels[p], scores[p], before[p]) for p in before}
    return TargetEvaluation(metrics["validation"], metrics["test"], **differences)


def _columns(scores: Scores) -> NDArray[np.float32]:
    """(rows,) of one target, (rows, targets) of several."""
    columns = list(scores.values())
    return columns[0] if len(columns) == 1 else np.stack(columns, axis=1)
