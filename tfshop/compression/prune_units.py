"""Whole units: neurons, ranks, heads, experts and maps are removed, and the network is rebuilt smaller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

from tfshop.compression.candidate import OF_THE_NETWORK, Candidate, curve_of, require_fraction
from tfshop.compression.importance import Importance, require_importance
from tfshop.compression.left_alone import left_alone
from tfshop.compression.masked import zeros_held
from tfshop.compression.teaching import fine_tuned, require_learners
from tfshop.compression.units.compensation import compensate
from tfshop.compression.units.following import Kept
from tfshop.compression.units.groups import Group
from tfshop.compression.units.scoring import BATCHNORM, Judge, judged_groups, unit_scores
from tfshop.compression.units.selection import SCOPES, Limits, choose, choose_for_budget, multiplications
from tfshop.compression.units.surgery import shrunk
from tfshop.compression.units.trace import Trace, follow
from tfshop.compression.unread import refuse_unread, refuse_unread_without_training
from tfshop.data.schema import Schema
from tfshop.data.split import Splits
from tfshop.errors import PlanError
from tfshop.models.rebuild import inlined
from tfshop.training import FitSettings
from tfshop.training.adoption import require_copyable

SHARE = 0.5
KEPT = "was to keep its units, and these go with them"


@dataclass(frozen=True)
class PruneUnits:
    """Remove the units that matter least, and rebuild the network with smaller layers.

    Unlike single zeros, this makes the file faster: fewer neurons are fewer multiplications. Units are followed
    through all that they touch; those that an addition or product couples go together. Experts go with their gates,
    attention heads with their queries, keys and values. The width of tables stays. What cannot be followed (Lambda,
    `tf.` operators, layers of others), or does not stand the loss of a unit (LayerNormalization), keeps its width,
    and is listed with the reason.

    Args:
        share: Of the units that may go, how many do, in (0, 1).
        multiplies: Budget instead of a share: what stays of the multiplications with weights, in (0, 1).
        scope: "local" takes the same share of every group of layers; "global" ranks all units together.
        importance: "magnitude", "activation", "taylor", "random", "batchnorm" (the scale of the BatchNormalization;
            layers without one keep their width), or a callable, as `weight_scores` takes it.
        readers: Whether the weights that read a unit count beside those that make it.
        minimum: Units that stay of each layer; of heads and experts one does.
        multiple_of: Widths are rounded up to a multiple, such as 8, which kernels like.
        keep: Name or names of layers whose units all stay, and with them those of layers that are added to them or
            multiplied by them.
        compensate: Whether what removed units gave on average goes into the biases of what read them.
        epochs: Of fine-tuning; 0 for none.
        learning_rate: Of the fine-tuning.
        distill: Whether the fine-tuning learns from the scores of the model that comes in beside the labels, so that
            it does not overfit.

    Raises:
        PlanError: At construction for a value out of range, or a share beside a budget; in `check` where no unit may
            go, or too few for the budget.

    Example:
        >>> PruneUnits(0.5, multiple_of=8).scope
        'local'

    References:
        Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017; Fang et al., DepGraph: Towards Any Structural
        Pruning, CVPR 2023.
    """

    name: ClassVar[str] = "PruneUnits"
    makes: ClassVar[tuple[str, ...]] = ("units",)
    preserves: ClassVar[tuple[str, ...]] = ("sparsity", "rows", "factors", *OF_THE_NETWORK)

    share: float = SHARE
    multiplies: float | None = None
    scope: str = "local"
    importance: Importance = "magnitude"
    readers: bool = True
    minimum: int = 4
    multiple_of: int = 1
    keep: str | tuple[str, ...] = ()
    compensate: bool = True
    epochs: int = 1
    learning_rate: float = 5e-4
    distill: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "keep", (self.keep,) if isinstance(self.keep, str) else tuple(self.keep))
        require_fraction("share", self.share)
        if not self.share:
            raise PlanError(
                f"share is {self.share!r}, so no unit would go. Expected a fraction in (0, 1). Fix: share={SHARE}, or "
                "leave PruneUnits out."
            )
        if self.multiplies is not None:
            self._require_budget()
        if self.scope not in SCOPES:
            raise PlanError(f"scope is {self.scope!r}. Expected one of {', '.join(SCOPES)}. Fix: scope='local'.")
        if self.importance != BATCHNORM:
            require_importance(self.importance)
        if self.importance == BATCHNORM:
            refuse_unread(self, ("readers",), "a scale of BatchNormalization has no readers", fix="another importance")
        refuse_unread_without_training(self)
        for name in ("minimum", "multiple_of"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise PlanError(f"{name} is {getattr(self, name)!r}. Expected an integer of at least 1.")
        if self.epochs != 0:
            FitSettings(epochs=self.epochs, learning_rate=self.learning_rate)

    def _require_budget(self) -> None:
        """Raise unless the budget is a share, and the only one."""
        if isinstance(self.multiplies, bool) or not isinstance(self.multiplies, Real) or not 0 < self.multiplies < 1:
            raise PlanError(
                f"multiplies is {self.multiplies!r}. Expected the share that stays, in (0, 1). Fix: multiplies=0.25."
            )
        if self.share != SHARE:
            raise PlanError(
                f"PruneUnits was given share={self.share} and multiplies={self.multiplies}. Expected one way to say "
                f"how many units go. Fix: PruneUnits(multiplies={self.multiplies}) alone."
            )

    def check(self, model: Any, schema: Schema) -> None:
        """Refuse networks of which nothing may go, and budgets out of reach."""
        require_copyable(model, schema)
        trace, found = self._followed(inlined(model))
        require_learners(trace.model, self.epochs, by=self.name)
        everything = choose(found, dict.fromkeys((a for g in found for a in g.atoms), 0.0), 1.0, self._limits)
        if not everything:
            raise PlanError(
                f"PruneUnits finds no units that may go in {model.name!r}{self._why(trace)}. Expected layers wider "
                f"than minimum={self.minimum}, with a rule for whatever reads them. Fix: leave PruneUnits out, "
                f"{'keep fewer layers, ' if self.keep else ''}or lower minimum."
            )
        least = multiplications(trace, everything) / max(1, multiplications(trace))
        if self.multiplies is not None and least > self.multiplies:
            raise PlanError(
                f"PruneUnits cannot bring {model.name!r} to {self.multiplies:.0%} of its multiplications: with "
                f"minimum={self.minimum}, {least:.0%} stay{self._why(trace)}. Expected a budget above that. "
                f"Fix: multiplies={min(0.99, least * 1.1):.2f}, or LowRank for what cannot lose units."
            )

    def foreseen(self, model: Any, schema: Schema) -> Any:
        """The network with as few units as it will have; which they are, scores on data decide.

        With a budget, or one ranking of all layers, the widths depend on the scores too: the network as it is.
        """
        if self.multiplies is not None or self.scope == "global":
            return model
        trace, found = self._followed(inlined(model))
        anyhow = dict.fromkeys((atom for group in found for atom in group.atoms), 0.0)
        return shrunk(trace, choose(found, anyhow, self.share, self._limits))

    def apply(self, candidate: Candidate, data: Splits, seed: int) -> Candidate:
        """Score, choose, rebuild, and train what is left for a moment."""
        trace, found = self._followed(inlined(candidate.model))
        removed = self._chosen(trace, found, data, seed)
        smaller = shrunk(trace, removed)
        kept = Kept(trace.ledger, removed)
        compensated = compensate(trace, kept, smaller, data.train, seed=seed) if self.compensate else []
        history = None
        if self.epochs:
            told = f"fine-tuning without {len(removed):,} units"
            with zeros_held(smaller):
                history = fine_tuned(smaller, candidate.model, data, self, seed=seed, description=told)
        notes = {
            "removed": len(removed),
            "layers": sorted({owner for group in found if removed.intersection(group.atoms) for owner in group.owners}),
            "groups": [_told(group, removed) for group in found],
            "parameters": [candidate.model.count_params(), smaller.count_params()],
            "multiplications": [multiplications(trace), multiplications(follow(smaller))],
            "compensated": compensated,
            "left_alone": self._left_alone(trace, found, removed),
            "fit": history.to_dict() if history else None,
        }
        return candidate.advance(self, smaller, notes=notes, curve=curve_of(history) if history else ())

    @property
    def _limits(self) -> Limits:
        return Limits(self.scope, self.minimum, self.multiple_of)

    def _followed(self, model: Any) -> tuple[Trace, tuple[Group, ...]]:
        """The trace of a flat model, and the groups that may shrink."""
        trace = follow(model)
        unknown = [name for name in self.keep if name not in {layer.name for layer in model.layers}]
        if unknown:
            raise PlanError(
                f"PruneUnits is to keep {', '.join(map(repr, unknown))}, which {model.name!r} has not. Expected names "
                f"of its layers. Fix: keep=({model.layers[-1].name!r},)."
            )
        for series in trace.ledger.series:
            if series.owner in self.keep:
                trace.ledger.hold_axes((series.entries,), f"{series.owner!r} {KEPT}")
        return trace, judged_groups(trace, self.importance)

    def _chosen(self, trace: Trace, found: Sequence[Group], data: Splits, seed: int) -> frozenset[int]:
        scores = unit_scores(trace, found, Judge(self.importance, self.readers), data, seed=seed)
        if self.multiplies is None:
            return choose(found, scores, self.share, self._limits)
        budget = self.multiplies * multiplications(trace)
        return choose_for_budget(trace, found, scores, budget, self._limits)

    def _why(self, trace: Trace) -> str:
        """Why units stay, for an error: layers that are to keep theirs hold others, or else the first reason."""
        reasons = [
            (series.owner, reason)
            for series in trace.ledger.series
            for entry in series.entries
            if (reason := trace.ledger.reason(entry))
        ]
        for owner, reason in reasons:
            if reason.endswith(KEPT) and owner not in self.keep:
                return f"; {owner!r} stays, as {reason}"
        return f"; {reasons[0][1]}" if reasons else ""

    def _left_alone(self, trace: Trace, found: Sequence[Group], removed: frozenset[int]) -> list[dict[str, str]]:
        """Layers whose own units all stayed, and why."""
        reasons = dict(trace.unfollowed)
        for series in trace.ledger.series:
            atoms = frozenset().union(*trace.ledger.resolved(series.entries))
            if atoms.isdisjoint(removed):
                held = next((trace.ledger.reasons[atom] for atom in sorted(atoms) if atom in trace.ledger.reasons), "")
                held = "it was to keep its units" if series.owner in self.keep else held
                told = held or f"it has no units to spare: {len(series.entries)} of them"
                before = reasons.get(series.owner, told)  # one layer may have units of several kinds
                reasons[series.owner] = told if told in before else f"{before}; {told}"
        smaller = {owner for group in found if removed.intersection(group.atoms) for owner in group.owners}
        treated = [layer.name for layer in trace.model.layers if layer.name not in reasons or layer.name in smaller]
        return left_alone(trace.model, treated, by=self.name, reason=lambda layer, _: reasons[layer.name])


def _told(group: Group, removed: frozenset[int]) -> dict[str, Any]:
    """A group as plain data."""
    stay = len(group.atoms) - len(removed.intersection(group.atoms))
    return {"layers": list(group.owners), "kind": group.kind, "before": len(group.atoms), "after": stay}
