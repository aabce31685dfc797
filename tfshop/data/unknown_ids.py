"""Ids that training does not know, as often as later rows have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from tfshop.data.split import Split

UNKNOWN = 0
MOST_ROWS = 1 << 18  # of each split, from which shares are told
STREAM = 1  # of the random numbers, apart from those of the order of rows

Inputs = Mapping[str, npt.NDArray[Any]]


def unknown_more_often(train: Split, later: Split) -> npt.NDArray[np.float64]:
    """For each id column, the chance by which an id of training is read as unknown to be so as often as later.

    Vocabularies are fitted on the training rows, which therefore hardly look the row of unknown ids up: what a network
    makes of it, a shop's new products, has seen next to none of them.

    Args:
        train: Rows to learn from.
        later: Rows after these, such as the validation split of a `TimeSplit`.

    Returns:
        float64 (id columns,), in [0, 1]; none for a schema without ids.

    Example:
        >>> from tfshop.data.datasets import synthetic
        >>> data = synthetic(2000, num_id_features=2, rows_per_feature=500, num_numeric=0, history=0, seed=0)
        >>> unknown_more_often(data.train, data.validation).shape
        (2,)
    """
    now, then = (_unknown_shares(split) for split in (train, later))
    return np.clip((then - now) / np.maximum(1 - now, 1 / MOST_ROWS), 0.0, 1.0)


def as_unknown(packed: Inputs, chances: npt.NDArray[np.float64], seed: tuple[int, ...]) -> Inputs:
    """The inputs of a batch with ids read as unknown at random, the others as they are.

    Args:
        packed: Arrays (rows, …) by name.
        chances: Of each column of `packed["ids"]`.
        seed: Of this batch: the same one reads the same ids as unknown.
    """
    if not chances.any():
        return packed
    ids = packed["ids"]
    drawn = np.random.default_rng([*seed, STREAM]).random(ids.shape, dtype=np.float32)
    return {**packed, "ids": np.where(drawn < chances, np.int32(UNKNOWN), ids)}


def _unknown_shares(split: Split) -> npt.NDArray[np.float64]:
    ids = split.take(MOST_ROWS, seed=0).inputs.get("ids")
    return np.zeros(0) if ids is None else np.count_nonzero(ids == UNKNOWN, axis=0) / max(len(ids), 1)
