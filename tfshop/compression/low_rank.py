"""Low rank: wide kernels become the product of two narrow ones, which multiply less."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tfshop import _console
from tfshop.compression.candidate import OF_THE_NETWORK, Candidate, curve_of
from tfshop.compression.factoring import Matrix, Spectrum, output_error, spectrum
from tfshop.compression.left_alone import left_alone
from tfshop.compression.moments import Moments, input_moments
from tfshop.compression.ranks import (
    Cost,
    Factorable,
    least_cost,
    left_whole,
    rank_of,
    ranks_by_energy,
    ranks_within,
    whole_cost,
)
from tfshop.compression.rebuild import KeepZeros, with_factors
from tfshop.compression.roles import layers_with, output_tensors, require_known_roles, require_roles, unwrapped
from tfshop.compression.score_slopes import output_slopes
from tfshop.compression.teaching import fine_tuned, require_learners
from tfshop.compression.unread import refuse_unread, refuse_unread_without_training
from tfshop.data.schema import Schema
from tfshop.data.split import Splits
from tfshop.errors import PlanError
from tfshop.models.rebuild import inlined
from tfshop.training import FitSettings
from tfshop.training.adoption import require_copyable

FACTORABLE = ("dense", "cross")
ENERGY = 0.99
UNKNOWN: Mapping[str, Any] = MappingProxyType({})
CONSTRAINED = "its kernel has a kernel_constraint, which the two that would take its place could not keep"
COSTS: Mapping[str, Cost] = {"max_bytes": Factorable.bytes, "max_multiplies": Factorable.multiplies}


@dataclass(frozen=True)
class LowRank:
    """Put two layers in the place of a Dense one: the first linear and without bias, the second as the old one was.

    The first is called `<name>_in`, the second keeps its name. Ranks are chosen in one of four ways; without any, by
    99% of the energy. A layer whose two kernels would have as many weights as the one is left alone, and so is one
    whose kernel has a constraint.

    Args:
        energy: Share of the mean square of each layer's outputs to keep, in (0, 1].
        rank: For every layer: a whole number, or a share of the full rank as a float in (0, 1]; or a mapping of layer
            name to either, which leaves the layers alone that it does not name.
        max_bytes: Of all kernels of `roles` together in float32: a whole number, or as a float the share of what they
            take now. Each direction goes to the kernel that loses most without it, for its bytes.
        max_multiplies: Likewise in multiplications a row.
        whiten: Whether the error of the outputs on training rows is kept small; else that of the kernel's numbers.
        weigh: Whether an error of the outputs counts by what it moves the scores, to second order from one backward
            pass over a sample: of each kernel those directions stay without which most cross-entropy is expected to be
            lost, and a budget goes where the network loses most. Else all outputs count alike, and layers by shares of
            their energy; so they do with `energy`.
        roles: Which layers, by role: "dense", "cross".
        epochs: Fine-tuning epochs; 0 for none.
        learning_rate: Of the fine-tuning.
        distill: Whether the fine-tuning learns from the scores of the model that comes in beside the labels, so that
            it does not overfit.

    Raises:
        PlanError: At construction for a value out of range or two ways at once; in `check` for no layer of the roles,
            an unknown layer, a budget below rank 1, or where factoring pays nowhere.

    Example:
        >>> LowRank(max_multiplies=0.25).whiten
        True

    References:
        Denton et al., Exploiting linear structure within convolutional networks for efficient evaluation, NeurIPS
        2014. Wang et al., SVD-LLM, ICLR 2025. Hsu et al., Language model compression with weighted low-rank
        factorization, ICLR 2022.
    """

    name: ClassVar[str] = "LowRank"
    makes: ClassVar[tuple[str, ...]] = ("factors",)
    preserves: ClassVar[tuple[str, ...]] = ("rows", *OF_THE_NETWORK)

    energy: float | None = None
    rank: int | float | Mapping[str, int | float] | None = None
    max_bytes: int | float | None = None
    max_multiplies: int | float | None = None
    whiten: bool = True
    weigh: bool = True
    roles: tuple[str, ...] = FACTORABLE
    epochs: int = 1
    learning_rate: float = 5e-4
    distill: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "roles", tuple(self.roles))
        require_known_roles(self.roles, wanted_by="LowRank", allowed=FACTORABLE)
        ways = {name: value for name in ("energy", "rank", *COSTS) if (value := getattr(self, name)) is not None}
        if len(ways) > 1:
            raise PlanError(
                f"LowRank was given {' and '.join(ways)}. Expected one way to choose ranks. "
                f"Fix: LowRank({next(iter(ways))}=…) alone."
            )
        for name, value in ways.items():
            for number in value.values() if isinstance(value, Mapping) else (value,):
                _require_amount(name, number, whole=name != "energy", shares_to_one=name not in COSTS)
        if self._keeps_energy:
            refuse_unread(self, ("weigh",), "energy is that of outputs which count alike", fix="max_multiplies=0.5")
        refuse_unread_without_training(self)
        if self.epochs != 0:
            FitSettings(epochs=self.epochs, learning_rate=self.learning_rate)

    def check(self, model: Any, schema: Schema) -> None:
        """Refuse roles, names and budgets that leave nothing to factor."""
        require_copyable(model, schema)
        model = inlined(model)
        require_roles(model, self.roles, wanted_by="LowRank", allowed=FACTORABLE)
        require_learners(model, self.epochs, by=self.name)
        kernels = factorable(model, self._free(model), {})
        if not kernels:
            raise PlanError(
                f"LowRank finds no kernel in {model.name!r} that it may factor: each has a kernel_constraint, which "
                "two kernels could not keep. Expected one without. Fix: leave LowRank out."
            )
        self._require_names(kernels)
        if not any(kernel.pays(self._least_rank(kernel)) for kernel in kernels):
            sizes = ", ".join(f"{k.name} {k.inputs}x{k.outputs}" for k in kernels[:4])
            raise PlanError(
                f"LowRank finds no kernel in {model.name!r} that pays: {sizes}. Expected rank * (inputs + outputs) "
                "below inputs * outputs somewhere. Fix: a smaller rank, or leave LowRank out."
            )
        for name, cost in COSTS.items():
            budget = self._budget(name, kernels)
            if budget is not None and budget < (least := least_cost(kernels, cost)):
                raise PlanError(
                    f"{name} is {getattr(self, name)}, which is {budget:,.0f}. Expected at least {least:,}, rank 1 "
                    f"throughout, of {whole_cost(kernels, cost):,} now. Fix: {name}={least}."
                )

    def foreseen(self, model: Any, schema: Schema) -> Any:
        """The network with its factors, untrained: later steps may name them.

        Ranks that data will choose are taken as the largest that pays, so that nothing is refused which may work.
        """
        model = inlined(model)
        kernels = factorable(model, self._free(model), {})
        by_data = self.rank is None
        ranks = {k.name: k.most_paying if by_data else self._least_rank(k) for k in kernels}
        kept = {k.name: k for k in kernels if ranks[k.name] > 0 and k.pays(ranks[k.name])}
        return with_factors(
            model,
            {
                name: (np.ones((k.inputs, ranks[name]), np.float32), np.ones((ranks[name], k.outputs), np.float32))
                for name, k in kept.items()
            },
        )

    def apply(self, candidate: Candidate, data: Splits, seed: int) -> Candidate:
        """Gather moments, choose ranks, put the factors in place, fine-tune."""
        model = inlined(candidate.model)
        names = self._free(model)
        moments = input_moments(model, names, data.train, seed=seed)
        slopes = output_slopes(model, names, data.train, seed=seed) if self.weigh and not self._keeps_energy else {}
        spectra = _spectra(model, names, moments if self.whiten else {}, slopes)
        harm = {name: spectra[name].expected_losses(moments[name].second, slopes[name]) for name in slopes}
        kernels = factorable(model, names, spectra, harm)
        ranks = self._ranks(kernels)
        reasons = {k.name: reason for k in kernels if (reason := left_whole(k, ranks))}
        kept = {k.name: rank for k in kernels if k.name not in reasons and (rank := ranks[k.name])}
        factored = with_factors(model, {name: spectra[name].factors(rank) for name, rank in kept.items()})
        notes = {
            "layers": list(kept),
            "factored": [
                _told(k, kept[k.name], spectra[k.name], moments[k.name], harm) for k in kernels if k.name in kept
            ],
            "kernel_weights": sum(k.weights(kept.get(k.name)) for k in kernels),
            "kernel_weights_before": sum(k.weights(None) for k in kernels),
            "multiplies": sum(k.multiplies(kept.get(k.name)) for k in kernels),
            "multiplies_before": sum(k.multiplies(None) for k in kernels),
            "left_alone": left_alone(
                model, tuple(kept), by=self.name, reason=lambda layer, role: self._reason(layer, role, reasons)
            ),
        }
        if not kept or not self.epochs:
            return candidate.advance(self, factored, notes=notes)
        history = fine_tuned(factored, candidate.model, data, self, seed=seed, description="fine-tuning the factors")
        return candidate.advance(self, factored, notes={**notes, "fit": history.to_dict()}, curve=curve_of(history))

    def _free(self, model: Any) -> tuple[str, ...]:
        """Layers of the roles whose kernels may be any."""
        return tuple(name for name in layers_with(model, self.roles) if not is_constrained(model.get_layer(name)))

    @property
    def _keeps_energy(self) -> bool:
        return self.rank is None and all(getattr(self, name) is None for name in COSTS)

    def _ranks(self, kernels: Sequence[Factorable]) -> Mapping[str, int | None]:
        for name, cost in COSTS.items():
            budget = self._budget(name, kernels)
            if budget is not None:
                return ranks_within(kernels, budget, cost)
        if self.rank is None:
            return ranks_by_energy(kernels, self.energy or ENERGY)
        given = self.rank if isinstance(self.rank, Mapping) else {kernel.name: self.rank for kernel in kernels}
        return {kernel.name: rank_of(kernel, given[kernel.name]) for kernel in kernels if kernel.name in given}

    def _budget(self, name: str, kernels: Sequence[Factorable]) -> float | None:
        given: float | None = getattr(self, name)
        return given * whole_cost(kernels, COSTS[name]) if isinstance(given, float) else given

    def _least_rank(self, kernel: Factorable) -> int:
        """The rank a kernel will have at least, which is known before any row is seen."""
        if isinstance(self.rank, Mapping):
            return rank_of(kernel, self.rank[kernel.name]) if kernel.name in self.rank else kernel.full_rank
        return 1 if self.rank is None else rank_of(kernel, self.rank)

    def _require_names(self, kernels: Sequence[Factorable]) -> None:
        known = [kernel.name for kernel in kernels]
        unknown = sorted(set(self.rank) - set(known)) if isinstance(self.rank, Mapping) else []
        if unknown:
            raise PlanError(
                f"rank names {', '.join(unknown)}, which LowRank cannot factor. Expected layers with role "
                f"{', '.join(self.roles)}: {', '.join(known)}. Fix: LowRank(rank={{{known[0]!r}: 8}})."
            )

    def _reason(self, layer: Any, role: str, reasons: Mapping[str, str]) -> str:
        if layer.name in reasons:
            return reasons[layer.name]
        if role in self.roles:
            return CONSTRAINED
        if role in FACTORABLE:
            return f"its role is {role!r}; LowRank was asked for {', '.join(self.roles)}"
        if role == "head":
            return "it gives the score: a kernel with a single column has rank 1 already"
        return f"LowRank knows the kernels of Dense, not what {type(layer).__name__} does with its weights"


def is_constrained(layer: Any) -> bool:
    """Whether a constraint says more of a layer's kernel than where its zeros are."""
    constraint = getattr(unwrapped(layer), "kernel_constraint", None)
    return constraint is not None and not (isinstance(constraint, KeepZeros) and constraint.before is None)


def _spectra(
    model: Any, names: Sequence[str], moments: Mapping[str, Moments], slopes: Mapping[str, Matrix]
) -> dict[str, Spectrum]:
    found = {}
    with _console.progress("decomposing kernels", len(names)) as advance:
        for name in names:
            seen = moments[name].second if name in moments else None
            found[name] = spectrum(model.get_layer(name).kernel.numpy(), seen, slopes.get(name))
            advance()
    return found


def factorable(
    model: Any,
    names: Sequence[str],
    spectra: Mapping[str, Spectrum],
    harm: Mapping[str, NDArray[np.float64]] = UNKNOWN,
) -> list[Factorable]:
    """The kernels of Dense layers, with what their ranks lose and harm where that is known."""
    found = []
    for name in names:
        layer = model.get_layer(name)
        positions = sum(int(np.prod([n or 1 for n in t.shape[1:-1]])) for t in output_tensors(layer, model))
        losses = spectra[name].losses if name in spectra else np.zeros(0)
        inputs, outputs = (int(size) for size in unwrapped(layer).kernel.shape)
        found.append(Factorable(name, inputs, outputs, positions, losses, harm.get(name, losses)))
    return found


def _told(
    kernel: Factorable, rank: int, found: Spectrum, moments: Moments, harm: Mapping[str, NDArray[np.float64]]
) -> dict[str, Any]:
    """What becomes of one kernel, as plain data; the error is that of its outputs on training rows."""
    first, second = found.factors(rank)
    error = output_error(found.kernel, first.astype(np.float64) @ second, moments.second)
    told = {"layer": kernel.name, "rank": rank, "full_rank": kernel.full_rank, "output_error": error}
    return {**told, "expected_loss": float(kernel.harm[rank])} if kernel.name in harm else told


def _require_amount(name: str, value: object, *, whole: bool, shares_to_one: bool) -> None:
    """Raise unless the value is a share as a float, or (where allowed) a whole number of at least 1."""
    share = isinstance(value, float) and (0 < value <= 1 if shares_to_one else 0 < value < 1)
    if share or (whole and isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return
    shares = "a share as a float in (0, 1]" if shares_to_one else "a share as a float in (0, 1)"
    raise PlanError(f"{name} is {value!r}. Expected {'a whole number, or ' if whole else ''}{shares}. Fix: {name}=0.5.")
