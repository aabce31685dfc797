"""A student begins with the most important units of its teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras, tf
from tfshop.compression.moments import input_moments
from tfshop.compression.roles import calls_of, source_tensors
from tfshop.compression.widths import FOLLOWERS, Columns, WidthGroup, Widths
from tfshop.data.split import Split
from tfshop.models.rebuild import inlined

Scores = Mapping[str, NDArray[np.float64]]


def warm_start(student: Any, teacher: Any, split: Split, *, seed: int = 0) -> list[str]:
    """Copy into a student, in place, the slices of its teacher's weights that matter most.

    Layers correspond by name. Of each width the units are kept that score highest: the variance of what a unit or a
    table's column gives on training rows, times the squares of the weights that read it. A kernel is copied where it
    reads the same things in both; what has no counterpart keeps its fresh weights.

    Args:
        student: Functional model without submodels, such as `shrink` makes it.
        teacher: Functional model; left as it is.
        split: Training rows, of which a sample is run.
        seed: Of the sample.

    Returns:
        Names of the layers that were filled.

    Example:
        >>> filled = warm_start(shrink(teacher, width=0.5), teacher, data.train)  # doctest: +SKIP
    """
    pair = _Pair(student, inlined(teacher))
    pair.scores = unit_scores(pair.teacher, split, seed=seed)
    return [layer.name for layer in student.layers if layer.weights and pair.fill(layer)]


def unit_scores(model: Any, split: Split, *, seed: int = 0) -> Scores:
    """How much each unit of a Dense layer, or column of a table, matters: float64 (units,) by layer name."""
    widths = Widths(model)
    groups = [group for group in widths.groups if group.is_free]
    probes = {f"{number}": group.tensors[-1] for number, group in enumerate(groups)}
    variances = _variances(model, probes, split, seed)
    read = _weights_that_read(model, widths, groups)
    found = {}
    for number, group in enumerate(groups):
        weight = read[number] if read[number].any() else np.ones(group.width)
        for maker in group.makers:
            found[maker.name] = variances[f"{number}"] * weight
    return found


def _variances(model: Any, tensors: Mapping[str, Any], split: Split, seed: int) -> Mapping[str, Any]:
    """Variance of each column of some tensors, over rows and all axes but the last."""
    taps = {name: keras.layers.Activation("linear", name=f"tap_{name}") for name in tensors}
    probe = keras.Model(model.inputs, [taps[name](tensor) for name, tensor in tensors.items()])
    if not tensors:
        return {}
    moments = input_moments(probe, [tap.name for tap in taps.values()], split, seed=seed)
    seen = {name: moments[tap.name] for name, tap in taps.items()}
    return {name: np.maximum(found.mean_square - found.mean**2, 0.0) for name, found in seen.items()}


def _weights_that_read(model: Any, widths: Widths, groups: list[WidthGroup]) -> list[NDArray[np.float64]]:
    """Sum of the squares of the weights of Dense layers that read each unit of each group."""
    starts = np.cumsum([0, *(group.width for group in groups)])
    numbers = {id(group): np.arange(group.width) + start for group, start in zip(groups, starts, strict=False)}
    sums = np.zeros(starts[-1])
    for layer in model.layers:
        if type(layer) is keras.layers.Dense:
            squares = np.square(layer.kernel.numpy().astype(np.float64)).sum(axis=1)
            owners = _owners(source_tensors(layer, model)[0], widths, numbers)
            known = owners >= 0
            np.add.at(sums, owners[known], squares[known])
    return [sums[numbers[id(group)]] for group in groups]


def _owners(tensor: Any, widths: Widths, numbers: Mapping[int, Columns]) -> Columns:
    """Number of the unit behind each column of a tensor; -1 where it is none of a free group."""
    group = widths.group_of(tensor)
    if group.parts and not group.is_fixed:
        return np.concatenate([_owners(part, widths, numbers) for part in group.parts])
    return numbers.get(id(group), np.full(group.width, -1))


@dataclass
class _Pair:
    """Student and teacher, layer by layer of the same name."""

    student: Any
    teacher: Any

    def __post_init__(self) -> None:
        self.scores: Scores = {}
        self._widths = Widths(self.student)
        self._theirs = {layer.name: layer for layer in self.teacher.layers}
        self._known: dict[int, tuple[Columns, int] | None] = {}

    def fill(self, layer: Any) -> bool:
        """Copy what corresponds into one layer of the student."""
        theirs: Any = self._theirs.get(layer.name)
        if type(theirs) is not type(layer):
            return False
        wanted, given = [list(w.shape) for w in layer.weights], [list(w.shape) for w in theirs.weights]
        if isinstance(layer, (keras.layers.Dense, keras.layers.Embedding)) or (
            type(layer) in FOLLOWERS and not isinstance(layer, keras.layers.MultiHeadAttention)
        ):
            sliced = self._sliced(layer, theirs)
        else:
            sliced = theirs.get_weights() if wanted == given and self._reads_whole(layer) else None
        if sliced is None or [list(weight.shape) for weight in sliced] != wanted:
            return False
        layer.set_weights(sliced)
        return True

    def _sliced(self, layer: Any, theirs: Any) -> list[NDArray[Any]] | None:
        """The teacher's weights, of the columns the student has; None where that cannot be told."""
        given = self._columns(calls_of(layer, self.student)[0].outputs, whole=theirs.weights[0].shape[-1])
        if given is None:
            return None
        weights = theirs.get_weights()
        if isinstance(layer, keras.layers.Dense):
            read = self._read(layer, theirs)
            if read is None:
                return None
            weights[0] = weights[0][read]
        return [weight[..., given] for weight in weights]

    def _read(self, layer: Any, theirs: Any) -> Columns | None:
        """Rows of the teacher's kernel that belong to what the student reads; None where they read other things."""
        ours, others = (source_tensors(one, model) for one, model in ((layer, self.student), (theirs, self.teacher)))
        if len(ours) != len(others) or not all(map(_same, ours, others)):
            return None
        return self._columns(ours[0], whole=theirs.kernel.shape[0])

    def _reads_whole(self, layer: Any) -> bool:
        tensors = [t for t in source_tensors(layer, self.student) if tf.as_dtype(t.dtype).is_floating]
        found = [self._columns(tensor, whole=tensor.shape[-1]) for tensor in tensors]
        return all(columns is not None for columns in found)

    def _columns(self, tensor: Any, *, whole: int) -> Columns | None:
        """Columns of the teacher's tensor that the student's has, where the teacher's is so wide."""
        found = self._kept(self._widths.group_of(tensor))
        return found[0] if found is not None and found[1] == whole else None

    def _kept(self, group: WidthGroup) -> tuple[Columns, int] | None:
        """The teacher's columns that a group of the student has, and how many the teacher has."""
        if id(group) not in self._known:
            self._known[id(group)] = self._chosen(group)
        return self._known[id(group)]

    def _chosen(self, group: WidthGroup) -> tuple[Columns, int] | None:
        if group.is_fixed:
            return np.arange(group.width), group.width
        if group.parts:
            parts = [self._kept(self._widths.group_of(part)) for part in group.parts]
            if any(part is None for part in parts):
                return None
            known = [part for part in parts if part is not None]
            starts = np.cumsum([0, *(width for _, width in known)])
            kept = [columns + start for (columns, _), start in zip(known, starts, strict=False)]
            return np.concatenate(kept), int(starts[-1])
        scores = [self.scores[maker.name] for maker in group.makers if maker.name in self.scores]
        if not scores or len({len(score) for score in scores}) > 1 or len(scores[0]) < group.width:
            return None
        order = np.argsort(-np.sum(scores, axis=0), kind="stable")
        return np.sort(order[: group.width]), len(order)


def _same(ours: Any, theirs: Any) -> bool:
    """Whether tensors of two networks are made alike: layers with weights by name, the others by what they read."""
    one, other = ours._keras_history.layer, theirs._keras_history.layer
    if type(one) is not type(other):
        return False
    if one.weights or not one._inbound_nodes[ours._keras_history.node_index].keras_inputs:
        return bool(one.name == other.name)
    read = [
        tensor._keras_history.layer._inbound_nodes[tensor._keras_history.node_index].keras_inputs
        for tensor in (ours, theirs)
    ]
    return len(read[0]) == len(read[1]) and all(map(_same, *read))
