"""What teachers say of every training row: computed once, and kept."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from tfshop.data.split import Split
from tfshop.training import predict
from tfshop.training.fingerprint import digest_of_rows, digest_of_weights

AVERAGES = ("logits", "probabilities")
NEAREST = 1e-7  # to 0 and 1
# Float32 scores by the teacher's digest, for as long as the rows themselves are in memory: retries and other passes
# of one run come with the same split.
_IN_MEMORY: WeakKeyDictionary[Split, dict[str, NDArray[np.float32]]] = WeakKeyDictionary()


def soft_targets(
    teachers: Sequence[Any], split: Split, *, averages: str = "logits", folder: str | os.PathLike[str] | None = None
) -> Split:
    """The split with labels float32 (rows, 2): label, teachers' logit; (rows, targets, 2) of several targets.

    Args:
        teachers: Models that the split's schema can feed, each with its own inputs.
        split: Rows to score.
        averages: Whether the teachers' "logits" or "probabilities" are averaged.
        folder: Where scores are kept between runs; None for memory alone.
    """
    labels = np.empty((*split.labels.shape, 2), np.float32)
    labels[..., 0] = split.labels
    mean = labels[..., 1]
    mean[...] = 0.0
    for teacher in teachers:
        scores = np.clip(teacher_scores(teacher, split, folder=folder), NEAREST, 1 - NEAREST, dtype=np.float32)
        if averages == "logits":
            logit(scores, out=scores)
        scores /= len(teachers)
        mean += scores
    if averages != "logits":
        np.clip(mean, NEAREST, 1 - NEAREST, out=mean)
        logit(mean, out=mean)
    return replace(split, labels=labels)


def teacher_scores(teacher: Any, split: Split, *, folder: str | os.PathLike[str] | None = None) -> NDArray[np.float32]:
    """Probabilities that a teacher gives, float32 (rows,) or (rows, targets), scored at most once; not to be changed.

    Args:
        teacher: Keras model.
        split: Rows to score.
        folder: Where they are kept as `.npy` files, by the digests of the teacher's weights and of all rows.
    """
    known = _IN_MEMORY.setdefault(split, {})
    digest = digest_of_weights(teacher)
    if digest not in known:
        place = None if folder is None else Path(folder) / f"{digest}-{digest_of_rows(split)}.npy"
        scores = _kept(place, split)
        if scores is None:
            scores = predict(teacher, split, description="scoring with the teacher")
            if place is not None:
                _keep(place, scores)
        scores.setflags(write=False)
        known[digest] = scores
    return known[digest]


def _kept(place: Path | None, split: Split) -> NDArray[np.float32] | None:
    """Scores of an earlier run; None where there are none, or what is there was cut off."""
    if place is None:
        return None
    try:
        scores: NDArray[np.float32] = np.load(place, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return scores if scores.dtype == np.float32 and len(scores) == split.num_rows else None


def _keep(place: Path, scores: NDArray[np.float32]) -> None:
    """Write beside and rename: whoever is killed leaves no half file under the name."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=place.parent, suffix=".part", delete=False) as file:
        np.save(file, scores)
    Path(file.name).replace(place)
