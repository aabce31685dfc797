"""Which layers stand which technique: each layer changed alone, without training."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfshop import _console
from tfshop.compression.kernels import kernel_variables
from tfshop.compression.left_alone import has_matrix, left_alone
from tfshop.compression.roles import ROLES, layers_with, require_known_roles
from tfshop.data.split import Split, Splits
from tfshop.errors import PlanError
from tfshop.models.rebuild import inlined
from tfshop.probing.bench import Bench
from tfshop.probing.findings import Sensitivity
from tfshop.probing.journal import Journal
from tfshop.probing.material import Material
from tfshop.probing.technique import Technique
from tfshop.probing.techniques import techniques_of
from tfshop.training.adoption import require_copyable
from tfshop.training.checks import require_finite_weights
from tfshop.training.fingerprint import Fingerprint, fingerprint
from tfshop.training.outputs import arrange_outputs

MOST_ROWS = 50_000
TRIALS = 5  # raised where a trial of the same name comes to measure something else
DENSE_HALF = ("dense", "cross", "head", "other")

Planned = tuple[str, Technique, float]


def sensitivity(
    model: Any,
    data: Splits,
    passes: Any = None,
    *,
    roles: Sequence[str] = DENSE_HALF,
    rows: int = MOST_ROWS,
    seed: int = 0,
    folder: str | os.PathLike[str] | None = None,
) -> Sensitivity:
    """Measure what each layer loses by each technique at each strength, and what that would save.

    One layer is changed at a time, in a copy; nothing is trained, so the losses are upper bounds of what a pass that
    fine-tunes leaves, and their order is what counts. What a layer reads is computed once; for each strength only what
    comes behind the layer is run.

    Args:
        model: Functional tf_keras model, trained; left as it is.
        data: Losses are measured on validation rows; what techniques decide by is gathered on training rows.
        passes: None for all techniques, or names (`"Prune"`, `"PruneUnits"`, `"LowRank"`, `"Cluster"`, `"Quantize"`),
            passes such as `Prune(0.8)` or `Export("int8")`, which stand for their technique at that strength, or a
            plan.
        roles: Which layers, by role: "dense", "cross", "head", "other" for attention, gates and the like, "table".
        rows: Most validation rows; fewer are drawn with the seed.
        seed: Of all samples.
        folder: Where table and picture go. Each trial is kept there as soon as it is done, so that a killed run goes
            on; other weights or rows begin anew, and so does what a function of yours judges.

    Returns:
        A `Sensitivity`.

    Raises:
        PlanError: For techniques and roles that are not known, for passes that do not work layer by layer, where no
            layer has a kernel of these roles, and for layers that cannot be copied.
        ModelError: For weights that are not finite.
        DataError: For validation rows without two of each class.
        TfshopError: For a folder of somebody else's.

    Example:
        >>> passes = [Prune(0.8), Cluster(16), Export("int8")]  # doctest: +SKIP
        >>> found = sensitivity(model, data, passes, folder="sensitivity")  # doctest: +SKIP
        >>> found.worst(3)  # doctest: +SKIP
        ['dense_0', 'cross_1', 'logit']

    References:
        Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017, measure layers so; DeLong et al., 1988.
    """
    techniques = techniques_of(passes)
    require_known_roles(tuple(roles), wanted_by="sensitivity", allowed=ROLES)
    require_copyable(model, data.schema)
    require_finite_weights(model)
    plain = arrange_outputs(inlined(model), data.schema)
    names = _treated(plain, tuple(roles))
    sample = data.validation.take(rows, seed=seed)
    journal = Journal(None if folder is None else Path(folder), _fingerprint(plain, data, sample, seed))
    material = Material(plain, names, data, seed)
    planned = [
        (name, technique, strength)
        for name in names
        for technique in techniques
        for strength in technique.strengths
        if technique.refuses(material, name, strength) is None
    ]
    _measure(material, sample, planned, journal)
    found = Sensitivity(
        network=plain.name,
        num_rows=sample.num_rows,
        trials=tuple(journal.done[_key(one)] for one in planned),
        left_alone=(*left_alone(plain, names, by="sensitivity", reason=_reason), *_refused(material, techniques)),
    )
    if folder is not None:
        found.save(folder)
    return found


def _measure(material: Material, sample: Split, planned: Sequence[Planned], journal: Journal) -> None:
    """Do the trials that are not in the journal yet."""
    waiting = [one for one in planned if _key(one) not in journal.done or one[1].by_function]
    if not waiting:
        return
    with _console.progress("sensitivity", len(planned)) as advance:
        advance(len(planned) - len(waiting))
        bench = Bench(material, sample)
        for layer, technique, strength in waiting:
            trial = bench.trial(layer, technique, strength)
            journal.add(trial)
            advance(note=f"{layer}, {trial.setting}: AUC {-trial.auc_loss:+.4f}")


def _key(planned: Planned) -> tuple[str, str, float]:
    layer, technique, strength = planned
    return layer, technique.name, strength


def _treated(model: Any, roles: tuple[str, ...]) -> tuple[str, ...]:
    """Layers of the roles that have a kernel, in the order of the graph."""
    names = tuple(name for name in layers_with(model, roles) if kernel_variables(model.get_layer(name)))
    if not names:
        raise PlanError(
            f"sensitivity finds no layer with role {', '.join(roles)} and a kernel in {model.name!r}. Expected Dense "
            "layers, or layers that name their kernels in get_prunable_weights(). Fix: roles=('table',)."
        )
    return names


def _reason(layer: Any, role: str) -> str:
    if not has_matrix(layer):
        return "its weights are vectors, of which every number counts"
    if kernel_variables(layer):
        return f"its role is {role!r}, which was not asked for"
    return f"it is not known which weights of {type(layer).__name__} are kernels"


def _refused(material: Material, techniques: Sequence[Technique]) -> list[dict[str, str]]:
    """Layers that a technique cannot treat at any strength, as rows of `left_alone`."""
    rows = []
    for name, technique in itertools.product(material.names, techniques):
        reasons = [technique.refuses(material, name, strength) for strength in technique.strengths]
        if reasons and all(reasons):
            kind = type(material.model.get_layer(name)).__name__
            rows.append({"layer": name, "class": kind, "pass": technique.name, "reason": str(reasons[-1])})
    return rows


def _fingerprint(model: Any, data: Splits, sample: Split, seed: int) -> Fingerprint:
    """Of everything a trial depends on but its own layer, technique and strength."""
    weights = hashlib.sha256()
    for weight in model.get_weights():
        weights.update(np.ascontiguousarray(weight).data)
    found = fingerprint(model, data.train, sample, {"seed": seed, "trials": TRIALS})
    return {**found, "weights": weights.hexdigest()[:16]}
