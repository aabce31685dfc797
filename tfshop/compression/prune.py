"""Zeros in kernels: which weights go, when, and where they may lie. TF-MOT is underneath where it can."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tfshop.compression.candidate import OF_THE_NETWORK, WEIGHTS_ALIKE, Candidate, require_fraction
from tfshop.compression.importance import Importance, require_importance
from tfshop.compression.left_alone import left_alone
from tfshop.compression.patterns import UNSTRUCTURED, Pattern
from tfshop.compression.prunable import PRUNABLE, Prunable, Wanted, prunable
from tfshop.compression.pruning import Pruning, sparsity_of, with_zeros
from tfshop.compression.roles import TABLE, require_known_roles, roles
from tfshop.compression.schedules import SCHEDULES
from tfshop.compression.teaching import require_learners
from tfshop.compression.thresholds import Threshold
from tfshop.compression.unread import refuse_unread, refuse_unread_without_training
from tfshop.data.schema import Schema
from tfshop.data.split import Splits
from tfshop.errors import PlanError
from tfshop.models.rebuild import inlined
from tfshop.training import FitSettings
from tfshop.training.adoption import require_copyable

SCOPES = ("local", "global")
WHOLE = 0.005  # a share written with two decimals is meant


@dataclass(frozen=True)
class Prune:
    """Zero the weights that matter least while fine-tuning.

    The schedule is laid over the steps that will really be run, so the sparsity asked for is reached. Zeros make
    the download smaller, not the latency.

    Args:
        sparsity: Fraction of zero weights at the end, in [0, 1); the most that "adaptive" may reach.
        schedule: "polynomial": sparsity rises from 0 over the first 60% of the steps; "constant": from the first;
            "one_shot": the weights are chosen once, before the training, which `epochs=0` leaves out; "adaptive":
            it rises stage by stage while the validation AUC holds, and steps back where it does not.
        roles: Which layers, by role: "dense", "cross", "table", "head", and "other" for attention, recurrence,
            bilinear products, experts and whatever names its kernels in `get_prunable_weights()`.
        epochs: Fine-tuning epochs.
        learning_rate: Of the fine-tuning.
        scope: "local": every kernel loses the same share; "global": one threshold over all kernels together.
        layers: Layer or role to its own sparsity, whatever the scope; 0 or None leaves it alone, so that
            `found.strongest("Prune")` of a `Sensitivity` can be given.
        importance: "magnitude", "activation", "taylor", "random", or a callable, as in `weight_scores`.
        pattern: "unstructured"; "n:m", of which n of m inputs in a row stay, such as "2:4"; "block 4x4", inputs x
            outputs.
        threshold: In place of `sparsity`: the scores below it in the model that comes in, as in `Threshold`.
        randomness: 0: the least important go. 1: the chance to stay is in proportion to importance. In between: to a
            higher power of it.
        l1: Strength of a penalty on the sum of absolute weights while training.
        group_lasso: Strength of a penalty on the norms of units' incoming weights, or of the pattern's blocks.
        tolerance: Validation AUC that "adaptive" may lose.
        distill: Whether the fine-tuning learns from the scores of the model that comes in beside the labels, so that
            it does not overfit.

    Raises:
        PlanError: At construction for a value out of range and settings that exclude each other; in `check` where no
            layer can be treated.

    Example:
        >>> Prune(0.8).sparsity
        0.8
        >>> Prune(threshold=Threshold("max", 0.05), scope="global").threshold.kind
        'max'

    References:
        Zhu & Gupta, To prune, or not to prune: exploring the efficacy of pruning for model compression, 2017; Han et
        al., Learning both Weights and Connections, NeurIPS 2015; Mishra et al., Accelerating Sparse Deep Neural
        Networks, 2021 (2:4).
    """

    name: ClassVar[str] = "Prune"
    makes: ClassVar[tuple[str, ...]] = ("sparsity",)
    preserves: ClassVar[tuple[str, ...]] = (*WEIGHTS_ALIKE, "rows", "factors", *OF_THE_NETWORK)

    sparsity: float = 0.5
    schedule: str = "polynomial"
    roles: tuple[str, ...] = ("dense", "cross", "other")
    epochs: int = 1
    learning_rate: float = 5e-4
    scope: str = "local"
    layers: Mapping[str, float | None] = field(default_factory=dict)
    importance: Importance = "magnitude"
    pattern: str = UNSTRUCTURED
    threshold: Threshold | None = None
    randomness: float = 0.0
    l1: float = 0.0
    group_lasso: float = 0.0
    tolerance: float = 0.001
    distill: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "roles", tuple(self.roles))
        object.__setattr__(self, "threshold", Threshold.of(self.threshold))
        require_fraction("sparsity", self.sparsity)
        require_known_roles(self.roles, wanted_by="Prune", allowed=PRUNABLE)
        _require_one_of("schedule", self.schedule, SCHEDULES)
        _require_one_of("scope", self.scope, SCOPES)
        require_importance(self.importance)
        for name, value in self.layers.items():
            require_fraction(f"layers[{name!r}]", 0.0 if value is None else value)
        for name in ("randomness", "l1", "group_lasso", "tolerance"):
            _require_not_negative(name, getattr(self, name))
        if self.epochs != 0 or self.schedule != "one_shot":
            FitSettings(epochs=self.epochs, learning_rate=self.learning_rate)
        _require_sensible(self, Pattern.parse(self.pattern))
        more = {"pattern": self.pattern != UNSTRUCTURED, "rows": bool(self._wanted().of(TABLE, TABLE))}
        object.__setattr__(self, "makes", ("sparsity", *(name for name, is_made in more.items() if is_made)))

    def check(self, model: Any, schema: Schema) -> None:
        """Refuse roles and layers that cannot be pruned or that the model does not have."""
        require_copyable(model, schema)
        flat = inlined(model)
        prunable(flat, self._wanted())
        require_learners(flat, self.epochs, by=self.name)

    def foreseen(self, model: Any, schema: Schema) -> Any:
        """The network with as many zeros in each kernel, for passes that need weights; where they lie, scores decide.

        With a threshold, one ranking of all kernels or the adaptive schedule, data decide how many: none, then.
        """
        if self.threshold is not None or self.scope == "global" or self.schedule == "adaptive":
            return model
        flat = inlined(model)
        return with_zeros(flat, prunable(flat, self._wanted()).sparsities, Pattern.parse(self.pattern))

    def tables(self, model: Any) -> tuple[str, ...]:
        """Tables that it prunes in a model, by the names of their layers."""
        flat = inlined(model)
        played = roles(flat)
        return tuple(name for name in prunable(flat, self._wanted()).sparsities if played[name] == TABLE)

    def apply(self, candidate: Candidate, data: Splits, seed: int) -> Candidate:
        """Choose weights and fine-tune without them."""
        model = inlined(candidate.model)
        found = prunable(model, self._wanted())
        pruned, record = Pruning(self, model, found.sparsities, data, seed).run()
        names = tuple(found.sparsities)
        others = left_alone(model, names, by=self.name, reason=self._reason(found))
        notes = {"sparsity": sparsity_of(pruned, names), "layers": list(names), "left_alone": others, **record.notes}
        return candidate.advance(self, pruned, notes=notes, curve=record.curve)

    def _wanted(self) -> Wanted:
        own = {name: value or 0.0 for name, value in self.layers.items()}
        return Wanted(self.roles, self.sparsity, own, self.importance, Pattern.parse(self.pattern))

    def _reason(self, found: Prunable) -> Any:
        def reason(layer: Any, role: str) -> str:
            if layer.name in found.reasons:
                return found.reasons[layer.name]
            return f"its role is {role!r}; Prune was asked for {', '.join(self.roles)}"

        return reason


def _require_one_of(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise PlanError(f"{name} is {value!r}. Expected one of {', '.join(known)}. Fix: {name}={known[0]!r}.")


def _require_not_negative(name: str, value: object) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value < float("inf"):  # type: ignore[operator]
        raise PlanError(f"{name} is {value!r}. Expected a number of at least 0. Fix: leave {name} out.")


def _require_sensible(settings: Prune, pattern: Pattern) -> None:
    """Raise `PlanError` for settings that exclude each other."""
    share = pattern.share
    if share is not None:
        _require_groups_alone(settings, share)
    if settings.threshold is not None:
        refuse_unread(settings, ("sparsity",), "a threshold says how much goes", fix="one of the two")
    if settings.schedule != "adaptive":
        why = f"the schedule {settings.schedule!r} does not look at validation"
        refuse_unread(settings, ("tolerance",), why, fix="schedule='adaptive'")
    refuse_unread_without_training(settings)
    if not settings.epochs and (settings.l1 or settings.group_lasso):
        raise PlanError("Prune(epochs=0) trains nothing, so l1 and group_lasso do nothing. Fix: epochs=1.")


def _require_groups_alone(settings: Prune, share: float) -> None:
    others = [value for value in settings.layers.values() if value not in (None, 0, share)]
    if settings.threshold is not None or settings.scope != "local" or settings.schedule == "adaptive":
        raise PlanError(
            f"pattern {settings.pattern!r} says itself how much goes, of every group the same. Expected it without "
            "threshold, scope='global' and schedule='adaptive'. Fix: leave those out, or pattern='unstructured'."
        )
    if abs(settings.sparsity - share) > WHOLE or others:
        raise PlanError(
            f"pattern {settings.pattern!r} makes {share:.4g} zeros, but sparsity is "
            f"{(others or [settings.sparsity])[0]}. Expected them to agree. Fix: Prune({share:.4g}, "
            f"pattern={settings.pattern!r})."
        )
