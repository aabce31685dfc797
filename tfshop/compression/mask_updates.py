"""Callbacks that tighten masks while a model trains: on a schedule, or as far as validation lets them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tfshop._keras import keras
from tfshop.compression.importance import Scorer
from tfshop.compression.masked import MaskedKernels
from tfshop.compression.masks import Choice
from tfshop.data.split import Split
from tfshop.training.outputs import arrange_outputs
from tfshop.training.scoring import mean_auc

STAGES = 12
FIRST_RISE = 0.25  # of the way to the end; halved each time validation does not hold
VALIDATION_ROWS = 200_000


@dataclass(frozen=True, eq=False)
class Tightening:
    """Masks, and what they are made by.

    Attributes:
        masked: The kernels.
        scorer: Scores their weights as they are.
        choice: Chooses by the scores.
    """

    masked: MaskedKernels
    scorer: Scorer
    choice: Choice

    def to(self, level: float) -> None:
        """Mask as much as a share of the way to the end asks for."""
        self.masked.tighten(self.scorer.scores(), self.choice, level)


class ScheduledMasks(keras.callbacks.Callback):
    """Tighten masks before the steps that a schedule names.

    Args:
        tightening: What tightens.
        levels: Step, from 0, to the share of the way to the end.
    """

    def __init__(self, tightening: Tightening, levels: Mapping[int, float]) -> None:
        super().__init__()
        self._tightening = tightening
        self._levels = levels
        self._step = 0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Update the masks where it is due."""
        if self._step in self._levels:
            self._tightening.to(self._levels[self._step])
        self._step += 1


class AdaptiveMasks(keras.callbacks.Callback):
    """Raise sparsity stage by stage while validation AUC holds; where it does not, go back and rise by half as much.

    A stage tightens the masks, trains for its share of the steps, and is kept where the AUC on validation rows is at
    most `tolerance` below that of the model that came in. Else all weights and masks become those of the last stage
    that was kept. So the model that comes out always held.

    Args:
        tightening: What tightens.
        validation: Rows to judge by.
        steps: Of the whole training.
        tolerance: AUC that may be lost.
    """

    def __init__(self, tightening: Tightening, validation: Split, *, steps: int, tolerance: float) -> None:
        super().__init__()
        self._tightening = tightening
        self._rows = validation.take(min(VALIDATION_ROWS, validation.num_rows), seed=0)
        self._ends = {round(steps * stage / STAGES) for stage in range(1, STAGES + 1)} - {0}
        self._tolerance = tolerance
        self._step = 0
        self._level, self._rise = 0.0, FIRST_RISE
        self.stages: list[dict[str, float | bool]] = []
        self.start = 0.0

    def on_train_begin(self, logs: Any = None) -> None:
        """Judge the model that came in, and begin the first stage."""
        self._scored = arrange_outputs(self.model, self._rows.schema)
        self.start = self._auc()
        self._keep()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Tighten at the beginning of a stage."""
        if self._step in self._ends | {0}:
            self._tightening.to(min(1.0, self._level + self._rise))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Judge at the end of a stage."""
        self._step += 1
        if self._step not in self._ends:
            return
        auc, sparsity = self._auc(), self._tightening.masked.share()
        held = auc >= self.start - self._tolerance
        row = {"step": self._step, "loss": float(logs["loss"]), "sparsity": sparsity, "validation_auc": auc}
        self.stages.append({**row, "held": held})
        if held:
            self._level = min(1.0, self._level + self._rise)
            self._keep()
        else:
            self._rise /= 2
            self._go_back()

    def _keep(self) -> None:
        self._kept = (self.model.get_weights(), self._tightening.masked.masks())

    def _go_back(self) -> None:
        weights, masks = self._kept
        self.model.set_weights(weights)
        self._tightening.masked.assign(masks)

    def _auc(self) -> float:
        return mean_auc(self._scored, self._rows)
