"""How much each unit matters: the scores of the weights that make it and of those that read it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras
from tfshop.compression.candidate import called
from tfshop.compression.importance import Importance, needs_moments, weight_scores
from tfshop.compression.kernels import kernels_of
from tfshop.compression.units.following import WeightAxes
from tfshop.compression.units.groups import Group
from tfshop.compression.units.groups import groups as groups_of
from tfshop.compression.units.ledger import Axis
from tfshop.compression.units.trace import Trace
from tfshop.data.split import Splits

BATCHNORM = "batchnorm"
Totals = dict[int, float]


@dataclass(frozen=True)
class Judge:
    """How units are scored.

    Args:
        importance: As `weight_scores` takes it, or "batchnorm".
        readers: Whether the weights that read a unit count beside those that make it.
    """

    importance: Importance
    readers: bool = True


def unit_scores(
    trace: Trace, groups: Sequence[Group], judge: Judge, data: Splits, *, seed: int = 0
) -> dict[int, float]:
    r"""Score every atom; the larger, the more it matters.

    .. math:: \sqrt{\sum_{w \text{ makes it}} s(w) \cdot \sum_{w \text{ reads it}} s(w)}

    The product is the same however a ReLU network spreads a unit's size over the two, and zero where either is: such
    a unit does nothing. Units that no kernel reads, such as those of a dot product, are scored by what makes them.
    With "batchnorm" the score is the scale of the BatchNormalization, and groups without one are left out.

    Args:
        trace: Of the network.
        groups: Whose atoms are scored.
        judge: How.
        data: The scores are taken on a sample of its training split.
        seed: Of the sample.

    References:
        Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017; Liu et al., Learning Efficient Convolutional
        Networks through Network Slimming, ICCV 2017; Molchanov et al., Importance Estimation for Neural Network
        Pruning, CVPR 2019.
    """
    if judge.importance == BATCHNORM:
        return _scales(trace, groups)
    made, read = _sums(trace, _kernel_scores(trace, judge.importance, data, seed))
    found: dict[int, float] = {}
    for group in groups:
        sides = [side for side in (made, read) if all(atom in side for atom in group.atoms)]
        sides = sides if judge.readers or len(sides) == 1 else sides[:1]
        for atom in group.atoms:
            found[atom] = float(np.prod([side[atom] for side in sides]) ** (1 / max(1, len(sides))))
    return found


def judged_groups(trace: Trace, importance: Importance) -> tuple[Group, ...]:
    """The groups that may go and whose atoms an importance can score; what it cannot score stays, with the reason."""
    if importance == BATCHNORM:
        return scored_by_scale(trace, groups_of(trace.ledger))
    name = importance if isinstance(importance, str) else called(importance)
    reason = f"no kernel that importance {name!r} can score makes or reads its units"
    trace.ledger.hold_axes(unreached(trace, importance), reason)
    return groups_of(trace.ledger)


def scored_by_scale(trace: Trace, groups: Sequence[Group]) -> tuple[Group, ...]:
    """The groups all of whose atoms have the scale of a BatchNormalization."""
    known = _scales(trace, groups)
    return tuple(group for group in groups if all(atom in known for atom in group.atoms))


def unreached(trace: Trace, importance: Importance) -> tuple[Axis, ...]:
    """Axes of units that no kernel with scores makes or reads: whether they matter cannot be told.

    An importance that weighs inputs scores kernels that meet a layer's float input alone.
    """
    reached: set[int] = set()
    for axis in _scored_axes(trace, importance):
        reached.update(atom for entry in axis for atom in trace.ledger.resolve(entry))
    series = (series.entries for series in trace.ledger.series)
    return tuple(own for own in series if not reached.issuperset(frozenset().union(*trace.ledger.resolved(own))))


def _scored_axes(trace: Trace, importance: Importance) -> list[Axis]:
    """Axes that are followed of kernels with scores."""
    found: list[Axis] = []
    for kernel in kernels_of(trace.model, _scored_layers(trace, importance)).values():
        position = _position(trace.model.get_layer(kernel.layer).weights, kernel.variable)
        found += [axis for axis in trace.weights_of(kernel.layer)[position] if isinstance(axis, tuple)]
    return found


def _scored_layers(trace: Trace, importance: Importance) -> list[str]:
    names = [layer.name for layer in trace.model.layers if trace.weights_of(layer.name)]
    if needs_moments(importance):
        kernels = kernels_of(trace.model, names).values()
        names = list(dict.fromkeys(kernel.layer for kernel in kernels if kernel.axes))
    return [name for name in names if type(trace.model.get_layer(name)) is not keras.layers.Embedding]


def _scales(trace: Trace, groups: Sequence[Group]) -> Totals:
    totals: Totals = defaultdict(float)
    for layer in trace.model.layers:
        if type(layer) is keras.layers.BatchNormalization and layer.scale and trace.weights_of(layer.name):
            (axis,) = trace.weights_of(layer.name)[0]
            if isinstance(axis, tuple):
                _add(totals, trace, axis, np.abs(layer.gamma.numpy()))
    wanted = {atom for group in groups for atom in group.atoms}
    return {atom: total for atom, total in totals.items() if atom in wanted}


def _kernel_scores(
    trace: Trace, importance: Importance, data: Splits, seed: int
) -> list[tuple[str, WeightAxes, NDArray[np.float64]]]:
    """Kernels whose axes are followed: layer, axes and scores."""
    names = _scored_layers(trace, importance)
    kernels = kernels_of(trace.model, names)
    scores = weight_scores(trace.model, names, importance, data, seed=seed)
    found = []
    for key, values in scores.items():
        kernel = kernels[key]
        position = _position(trace.model.get_layer(kernel.layer).weights, kernel.variable)
        found.append((kernel.layer, trace.weights_of(kernel.layer)[position], values))
    return found


def _position(weights: Sequence[Any], variable: Any) -> int:
    return next(position for position, weight in enumerate(weights) if weight is variable)


def _sums(trace: Trace, scores: Sequence[tuple[str, WeightAxes, NDArray[np.float64]]]) -> tuple[Totals, Totals]:
    """Sums over the weights that make each atom, and over those that read it."""
    own: Mapping[str, set[Axis]] = defaultdict(set)
    for series in trace.ledger.series:
        own[series.owner].add(series.entries)
    made: Totals = defaultdict(float)
    read: Totals = defaultdict(float)
    for name, axes, values in scores:
        for number, axis in enumerate(axes):
            if isinstance(axis, tuple):
                others = tuple(other for other in range(values.ndim) if other != number)
                _add(made if axis in own[name] else read, trace, axis, values.sum(axis=others))
    return made, read


def _add(totals: Totals, trace: Trace, axis: Axis, values: NDArray[Any]) -> None:
    for entry, value in zip(axis, values, strict=True):
        for atom in trace.ledger.resolve(entry):
            totals[atom] += float(value)
