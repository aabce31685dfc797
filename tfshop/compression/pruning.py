"""One run of pruning: by TF-MOT's wrappers where they can, else by masks of our own."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tfshop.compression._tfmot_pruning import TfmotPruning, tfmot_can
from tfshop.compression.importance import Scorer
from tfshop.compression.kernels import Kernel, kernels_of
from tfshop.compression.mask_updates import AdaptiveMasks, ScheduledMasks, Tightening
from tfshop.compression.masked import MaskedKernels, zeros_held
from tfshop.compression.masks import Choice, Group, shares_below
from tfshop.compression.patterns import Pattern
from tfshop.compression.penalties import penalty
from tfshop.compression.rebuild import copy_model
from tfshop.compression.roles import roles
from tfshop.compression.schedules import Rise
from tfshop.compression.sparsity_curve import SparsityCurve
from tfshop.compression.teaching import fine_tuned
from tfshop.data.split import Splits
from tfshop.training import History

if TYPE_CHECKING:
    from tfshop.compression.prune import Prune

MASK_UPDATES = 60
COSTLY_UPDATES = 10  # where scores are measured on data each time
FREE = ("magnitude", "random")


@dataclass(frozen=True)
class PruningRecord:
    """What is told of a run.

    Attributes:
        notes: As in `StepRecord`.
        curve: As in `StepRecord`.
    """

    notes: Mapping[str, Any] = field(default_factory=dict)
    curve: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, eq=False)
class Pruning:
    """Prune one model.

    Args:
        settings: The pass.
        model: Functional model without submodels; left as it is.
        sparsities: Layer to its sparsity at the end.
        data: Training and validation splits.
        seed: Of everything random.
    """

    settings: Prune
    model: Any
    sparsities: Mapping[str, float]
    data: Splits
    seed: int

    def run(self) -> tuple[Any, PruningRecord]:
        """The pruned model, without wrappers, and what there is to tell."""
        return self._with_tfmot() if self._is_for_tfmot else self._with_masks()

    @property
    def _is_for_tfmot(self) -> bool:
        """TF-MOT knows |w| alone, compares weights within a kernel, and takes the smallest on a schedule."""
        plain = self.settings.importance == "magnitude" and not self.settings.randomness
        follows = plain and self.settings.scope == "local" and self.settings.schedule in {"polynomial", "constant"}
        return follows and tfmot_can(self.model, tuple(self.sparsities), self._pattern, self.settings.schedule)

    def _with_tfmot(self) -> tuple[Any, PruningRecord]:
        shares = {name: group.share for group in self._groups for name in group.kernels}
        engine = TfmotPruning(self.model, shares, self._pattern, self._rise)
        curve = SparsityCurve(self._steps, engine.share)
        with zeros_held(engine.model, but=[wrapper.name for wrapper in engine.wrappers]):
            history = self._fit(engine.model, engine.kernels(), (*engine.callbacks(), curve))
        record = PruningRecord({"engine": "TF-MOT", "fit": history.to_dict()}, curve.with_validation(history))
        return engine.stripped(), record

    def _with_masks(self) -> tuple[Any, PruningRecord]:
        model = copy_model(self.model)
        scorer = Scorer(model, tuple(self.sparsities), self.settings.importance, self.data, self.seed)
        masked = MaskedKernels(scorer.kernels)
        choice = Choice(self._groups, self._pattern, self.settings.randomness, self.seed)
        tightening = Tightening(masked, scorer, choice)
        if not self.settings.epochs:
            tightening.to(1.0)
            return model, PruningRecord({"engine": "masks"})
        updates = self._updates(tightening)
        curve = SparsityCurve(self._steps, masked.share)
        with ExitStack() as held:
            held.enter_context(masked.held())
            held.enter_context(zeros_held(model, but=self.sparsities))
            history = self._fit(model, list(masked.kernels.values()), (updates, curve))
        stages = getattr(updates, "stages", ())
        notes = {"engine": "masks", "fit": history.to_dict()}
        if stages:
            notes |= {"stages": list(stages), "validation_auc_before": updates.start}
        return copy_model(model), PruningRecord(notes, curve.with_validation(history, stages))

    def _updates(self, tightening: Tightening) -> Any:
        if self.settings.schedule != "adaptive":
            return ScheduledMasks(tightening, self._rise.levels)
        return AdaptiveMasks(tightening, self.data.validation, steps=self._steps, tolerance=self.settings.tolerance)

    def _fit(self, model: Any, kernels: list[Kernel], callbacks: tuple[Any, ...]) -> History:
        settings = self.settings
        if settings.l1 or settings.group_lasso:
            drawn = penalty(kernels, l1=settings.l1, group_lasso=settings.group_lasso, pattern=self._pattern)
            model.add_loss(drawn)
        return fine_tuned(
            model,
            self.model,
            self.data,
            settings,
            seed=self.seed,
            keep_best=False,  # the best epoch may be one before the zeros
            steps_per_execution=1,  # masks are updated between steps
            description=f"pruning to {self._share:.0%}",
            callbacks=callbacks,
        )

    @property
    def _pattern(self) -> Pattern:
        return Pattern.parse(self.settings.pattern)

    @property
    def _steps(self) -> int:
        return self.settings.epochs * self.data.train.num_batches

    @property
    def _rise(self) -> Rise:
        updates = MASK_UPDATES if self.settings.importance in FREE else COSTLY_UPDATES
        return Rise(self.settings.schedule, self._steps, updates)

    @property
    def _share(self) -> float:
        sizes = {name: kernel.variable.shape.num_elements() for name, kernel in self._kernels.items()}
        gone = sum(group.share * sum(sizes[name] for name in group.kernels) for group in self._groups)
        return float(gone / sum(sizes.values()))

    @cached_property
    def _kernels(self) -> dict[str, Kernel]:
        return kernels_of(self.model, tuple(self.sparsities))

    @cached_property
    def _groups(self) -> tuple[Group, ...]:
        """Which kernels are compared with which: all that no override takes out, or each for itself."""
        kept_apart = {name for name in self._kernels if self._has_override(name)}
        shares = {name: self.sparsities[kernel.layer] for name, kernel in self._kernels.items()}
        together = [name for name in self._kernels if name not in kept_apart and self.settings.scope == "global"]
        shares.update(self._below_threshold(kept_apart))
        alone = tuple(Group((name,), share) for name, share in shares.items() if name not in together)
        return (*alone, Group(tuple(together), shares[together[0]])) if together else alone

    def _has_override(self, name: str) -> bool:
        layer = self._kernels[name].layer
        return layer in self.settings.layers or roles(self.model)[layer] in self.settings.layers

    def _below_threshold(self, kept_apart: set[str]) -> dict[str, float]:
        if self.settings.threshold is None:
            return {}
        layers = tuple(dict.fromkeys(k.layer for name, k in self._kernels.items() if name not in kept_apart))
        if not layers:
            return {}
        scores = Scorer(self.model, layers, self.settings.importance, self.data, self.seed).scores()
        matrices = {name: self._kernels[name].matrix(values) for name, values in scores.items()}
        together = self.settings.scope == "global"
        return shares_below(self.settings.threshold, matrices, self._pattern, together=together)


def with_zeros(model: Any, sparsities: Mapping[str, float], pattern: Pattern) -> Any:
    """A copy of a model without the smallest weights of some layers' kernels, nothing trained.

    Args:
        model: Functional model without submodels.
        sparsities: Layer to its share of zeros.
        pattern: Where they may lie.
    """
    copied = copy_model(model)
    kernels = kernels_of(copied, tuple(sparsities))
    sizes = {name: np.abs(kernel.variable.numpy()).astype(np.float64) for name, kernel in kernels.items()}
    groups = [Group((name,), sparsities[kernel.layer]) for name, kernel in kernels.items()]
    MaskedKernels(kernels).tighten(sizes, Choice(groups, pattern), 1.0)
    return copied


def sparsity_of(model: Any, names: tuple[str, ...]) -> float:
    """Share of zeros in the kernels (or tables) of the named layers."""
    weights = [np.asarray(kernel.variable) for kernel in kernels_of(model, names).values()]
    return float(sum(np.count_nonzero(w == 0) for w in weights) / sum(w.size for w in weights))
