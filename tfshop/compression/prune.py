"""Magnitude pruning, with TF-MOT underneath."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tfshop._keras import keras
from tfshop.compression._tfmot import sparsity as tfmot_sparsity
from tfshop.compression.candidate import Candidate, require_fraction
from tfshop.compression.left_alone import has_matrix, left_alone
from tfshop.compression.rebuild import copy_model
from tfshop.compression.roles import layers_with, require_known_roles, require_roles, unwrapped
from tfshop.data.schema import Schema
from tfshop.data.split import Splits
from tfshop.errors import PlanError
from tfshop.models.rebuild import copy_weights, fresh, inlined
from tfshop.training import FitSettings, fit
from tfshop.training.adoption import require_copyable

SCHEDULES = ("polynomial", "constant")
PRUNABLE = ("dense", "cross", "table", "head")
FEWEST_RISING_STEPS = 3  # a rise, its end, and a step after it
RISING_SHARE = 0.6  # of the steps; the rest let the weights that stay recover
MASK_UPDATES = 60
CURVE_POINTS = 100


@dataclass(frozen=True)
class Prune:
    """Zero the smallest weights while fine-tuning.

    The schedule is laid over the steps that will really be run, so the sparsity asked for is reached. Zeros make
    the download smaller, not the latency.

    Args:
        sparsity: Fraction of zero weights at the end, in [0, 1).
        schedule: "polynomial": sparsity rises from 0 over the first 60% of the steps; "constant": from the first.
        roles: Which layers, by role: "dense", "cross", "table", "head".
        epochs: Fine-tuning epochs.
        learning_rate: Of the fine-tuning.

    Raises:
        PlanError: At construction for a value out of range; in `check` where no layer has a role.

    Example:
        >>> Prune(0.8).sparsity
        0.8

    References:
        Zhu & Gupta, To prune, or not to prune: exploring the efficacy of pruning for model compression, 2017.
    """

    name: ClassVar[str] = "Prune"
    makes: ClassVar[tuple[str, ...]] = ("sparsity",)
    preserves: ClassVar[tuple[str, ...]] = ("sparsity", "factors")

    sparsity: float = 0.5
    schedule: str = "polynomial"
    roles: tuple[str, ...] = ("dense", "cross")
    epochs: int = 1
    learning_rate: float = 5e-4

    def __post_init__(self) -> None:
        object.__setattr__(self, "roles", tuple(self.roles))
        require_fraction("sparsity", self.sparsity)
        require_known_roles(self.roles, wanted_by="Prune", allowed=PRUNABLE)
        if self.schedule not in SCHEDULES:
            raise PlanError(f"schedule is {self.schedule!r}. Expected one of {', '.join(SCHEDULES)}.")
        FitSettings(epochs=self.epochs, learning_rate=self.learning_rate)

    def check(self, model: Any, schema: Schema) -> None:
        """Refuse roles that cannot be pruned or that the model does not have."""
        require_copyable(model, schema)
        require_roles(inlined(model), self.roles, wanted_by="Prune", allowed=PRUNABLE)

    def apply(self, candidate: Candidate, data: Splits, seed: int) -> Candidate:
        """Fine-tune with masks, then take the wrappers off."""
        model = inlined(candidate.model)
        names = layers_with(model, self.roles)
        steps = self.epochs * data.train.num_batches
        schedule = _schedule(self, steps)

        made: dict[str, Any] = {}

        def replace(layer: Any) -> Any:
            copied = fresh(layer)
            if layer.name in names:
                copied = tfmot_sparsity.prune_low_magnitude(copied, pruning_schedule=schedule)
            return made.setdefault(layer.name, copied)

        wrapped = copy_model(model, replace)
        curve = SparsityCurve(every=max(1, steps // CURVE_POINTS))
        settings = FitSettings(
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            seed=seed,
            patience=None,
            keep_best=False,  # the best epoch may be one before the zeros
            steps_per_execution=1,  # TF-MOT reads the step number before each step
            description=f"pruning to {self.sparsity:.0%}",
            callbacks=(tfmot_sparsity.UpdatePruningStep(), curve),
        )
        history = fit(wrapped, data, settings)
        stripped = copy_model(model)
        for name, layer in made.items():
            copy_weights(layer, stripped.get_layer(name))
        reached = sparsity_of(stripped, names)
        others = left_alone(model, names, by=self.name, reason=self._reason)
        notes = {"sparsity": reached, "layers": list(names), "left_alone": others, "fit": history.to_dict()}
        return candidate.advance(self, stripped, notes=notes, curve=curve.with_validation(history))

    def _reason(self, layer: Any, role: str) -> str:
        if role in PRUNABLE:
            return f"its role is {role!r}; Prune was asked for {', '.join(self.roles)}"
        if not has_matrix(layer):
            return "its weights are vectors, of which every number counts"
        return f"Prune knows the kernels of Dense and Embedding, not those of {type(layer).__name__}"


def sparsity_of(model: Any, names: tuple[str, ...]) -> float:
    """Share of zeros in the kernels (or tables) of the named layers."""
    weights = [unwrapped(model.get_layer(name)).get_weights()[0] for name in names]
    return float(sum(np.count_nonzero(w == 0) for w in weights) / sum(w.size for w in weights))


def _schedule(settings: Prune, steps: int) -> Any:
    """TF-MOT schedule whose last mask update lies inside the run."""
    if settings.schedule == "constant" or steps < FEWEST_RISING_STEPS:
        frequency = max(1, steps // MASK_UPDATES)
        return tfmot_sparsity.ConstantSparsity(settings.sparsity, begin_step=0, end_step=-1, frequency=frequency)
    end = max(1, int(steps * RISING_SHARE))
    frequency = max(1, end // MASK_UPDATES)
    end = max(frequency, end // frequency * frequency)
    return tfmot_sparsity.PolynomialDecay(
        initial_sparsity=0.0, final_sparsity=settings.sparsity, begin_step=0, end_step=end, frequency=frequency
    )


class SparsityCurve(keras.callbacks.Callback):
    """Record loss and the share of masked weights every few steps.

    Args:
        every: Steps between two records.
    """

    def __init__(self, every: int) -> None:
        super().__init__()
        self._every = every
        self._step = 0
        self._rows: list[dict[str, float]] = []
        self._epochs: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Record one row where it is due."""
        self._step += 1
        if self._step % self._every == 0 or self._step == 1:
            self._rows.append({"step": self._step, "loss": float(logs["loss"]), "sparsity": self._masked_share()})
        if self._rows:
            logs["sparsity"] = self._rows[-1]["sparsity"]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Keep the sparsity of the epoch."""
        self._epochs.append(self._masked_share())

    def with_validation(self, history: Any) -> tuple[dict[str, float], ...]:
        """The rows with their place in epochs, and one more an epoch that holds the validation AUC."""
        steps_per_epoch = self._step / len(history.epochs)
        during = [{**row, "epoch": row["step"] / steps_per_epoch} for row in self._rows]
        ends = [
            {
                "step": row.epoch * steps_per_epoch,
                "epoch": float(row.epoch),
                "loss": row.loss,
                "sparsity": sparsity,
                "validation_auc": row.validation_auc,
            }
            for row, sparsity in zip(history.epochs, self._epochs, strict=True)
        ]
        return tuple(sorted([*during, *ends], key=lambda row: row["step"]))

    def _masked_share(self) -> float:
        wrappers = [layer for layer in self.model.layers if hasattr(layer, "pruning_obj")]
        masks = [mask for wrapper in wrappers for _, mask, _ in wrapper.pruning_vars]
        kept = sum(float(keras.backend.sum(mask)) for mask in masks)
        return 1.0 - kept / sum(int(np.prod(mask.shape)) for mask in masks)
