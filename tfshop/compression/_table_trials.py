"""What coded rows cost a network, tried on validation rows without training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop.compression._table_parts import Part
from tfshop.compression._table_slopes import divergence
from tfshop.compression.rebuild import copy_model
from tfshop.data.split import Split
from tfshop.tables import TableLookup
from tfshop.tables.codec import CodedTable
from tfshop.training.scoring import mean_auc, predict


class Trials:
    """A copy of a network whose tables may hold the rows that codes stand for.

    Args:
        model: Functional model without submodels; left as it is.
        sample: Validation rows on which fields are tried one at a time.
        validation: All of them, for the AUC.
    """

    def __init__(self, model: Any, sample: Split, validation: Split) -> None:
        self._copy = copy_model(model)
        self._sample, self._validation = sample, validation

    @cached_property
    def auc(self) -> float:
        """Validation AUC with the rows as they are, the mean over targets."""
        return mean_auc(self._copy, self._validation)

    def loss(self, part: Part, coded: CodedTable) -> float:
        """Cross-entropy that a field costs which alone is coded, see `divergence`."""
        before = self._scores_before
        with self._rows(part.layer, coded.decode(), part.start):
            return divergence(before, self._scores())

    def auc_of(self, lookups: Mapping[str, TableLookup]) -> float:
        """Validation AUC with all these tables coded."""
        names = list(lookups)

        def inside(left: list[str]) -> float:
            if not left:
                return mean_auc(self._copy, self._validation)
            with self._rows(left[0], lookups[left[0]].table(), 0):
                return inside(left[1:])

        return inside(names)

    @cached_property
    def _scores_before(self) -> NDArray[np.float64]:
        return self._scores()

    def _scores(self) -> NDArray[np.float64]:
        """(targets, rows)."""
        scores = predict(self._copy, self._sample)
        return np.asarray(scores.reshape(len(scores), -1).T, dtype=np.float64)

    @contextmanager
    def _rows(self, layer: str, rows: NDArray[np.float32], start: int) -> Iterator[None]:
        """Other rows in a table while the block runs."""
        table = self._copy.get_layer(layer).embeddings
        place = table[start : start + len(rows)]
        before = place.numpy()
        place.assign(rows)
        try:
            yield
        finally:
            table[start : start + len(rows)].assign(before)
