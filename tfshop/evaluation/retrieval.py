"""Exact retrieval measured: every item is scored for every query, and the wanted one's rank counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop.data.split import Split, Splits
from tfshop.errors import ArtifactError, DataError
from tfshop.training.catalogue import Catalogue
from tfshop.training.recall import ranks, recall_at

KS = (10, 100)
Embed = Callable[[str, Split], NDArray[np.float32]]


@dataclass(frozen=True)
class Recall:
    """Retrieval on one split.

    Attributes:
        num_queries: Positive rows whose item was seen in training; each is a query for that item.
        num_skipped: Positive rows whose item was not.
        recall: k to the share of queries whose item is among the first k of all; ties count against it.
        popularity_recall: The same for one list for everybody, the items with most positive training rows first.
    """

    num_queries: int
    num_skipped: int
    recall: Mapping[int, float]
    popularity_recall: Mapping[int, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; keys of a JSON object are text."""
        return {
            "num_queries": self.num_queries,
            "num_skipped": self.num_skipped,
            "recall": {str(k): value for k, value in self.recall.items()},
            "popularity_recall": {str(k): value for k, value in self.popularity_recall.items()},
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Recall:
        """Inverse of `to_dict`.

        Raises:
            ArtifactError: For anything else.
        """
        try:
            by_k = ({int(k): float(v) for k, v in content[name].items()} for name in ("recall", "popularity_recall"))
            return cls(int(content["num_queries"]), int(content["num_skipped"]), *by_k)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(
                f"the retrieval figures are not readable ({type(error).__name__}: {error}). Expected what "
                "Recall.to_dict() gives. Fix: export the towers again."
            ) from error


def measure_recall(embed: Embed, data: Splits, column: int, ks: Sequence[int] = KS) -> dict[str, Recall]:
    """Recall on validation and test, among all items of the training rows.

    Args:
        embed: Gives the vectors of a side, "user" or "item", for the rows of a split, float32 (rows, width).
        data: Splits.
        column: Which column of `ids` says which item a row is about.
        ks: Lengths of the lists.

    Returns:
        "validation" and "test".

    Raises:
        DataError: For a k below 1, or splits without a positive row of a known item.
    """
    if not ks or any(not isinstance(k, int) or k < 1 for k in ks):
        raise DataError(f"ks is {ks!r}. Expected lengths of at least 1. Fix: ks=(10, 100).")
    catalogue = Catalogue.of(data.train, column)
    items = embed("item", catalogue.rows)
    found = {}
    for name, split in (("validation", data.validation), ("test", data.test)):
        queries = catalogue.positives(split)
        positions = ranks(embed("user", queries), items, catalogue.positions(queries))
        positives = int((split.labels.reshape(split.num_rows, -1)[:, 0] > 0).sum())
        found[name] = Recall(
            num_queries=queries.num_rows,
            num_skipped=positives - queries.num_rows,
            recall=recall_at(positions, ks),
            popularity_recall=recall_at(catalogue.popularity_ranks(queries), ks),
        )
    return found


def cosines(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosine of each row of one with the same row of the other; 1 where both are zeros."""
    first, second = np.asarray(one, np.float64), np.asarray(other, np.float64)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    both_zero = ~first.any(axis=1) & ~second.any(axis=1)
    product = (first * second).sum(axis=1)
    return np.where(both_zero, 1.0, product / np.maximum(lengths, 1e-30))
