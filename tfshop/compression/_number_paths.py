"""Where the numbers of looked-up rows go: through layers that only move, cut out or pool them, to kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras
from tfshop.compression.roles import calls_of
from tfshop.layers import FieldSlice, HashSum, MaskedMean
from tfshop.layers.shapes import Reshaped
from tfshop.models.rebuild import calls_in_order

Labels = NDArray[np.int64]  # of one row of a tensor: number j of slot s is s * STRIDE + j, what is foreign is below 0
STRIDE = 2**24
SHARED = 0.5  # of a kernel's weights: with fewer different ones some share a value, which a product would tell apart


@dataclass(frozen=True, eq=False)
class Laid:
    """What stands where in a row of a tensor: with rows as they are, and with short ones in their place."""

    before: Labels
    after: Labels

    @property
    def slots(self) -> set[int]:
        """Rows that are in it."""
        return {int(slot) for slot in np.unique(self.before[self.before >= 0] // STRIDE)}


class Paths:
    """One way through a model; a table whose rows cannot be short gets a reason.

    Args:
        model: Functional model without submodels.
        ranks: Layers that look rows up to the numbers a short row has.

    Attributes:
        owners: The table of each slot.
        kernels: Dense layers to what they read.
        targets: Layers that lay numbers out anew to the shape that they need for short rows.
        reasons: Tables whose rows cannot be short, and why.
    """

    def __init__(self, model: Any, ranks: Mapping[str, int]) -> None:
        self._model, self._ranks = model, ranks
        self._laid: dict[int, Laid] = {}
        self._foreign = 0
        self.owners: list[str] = []
        self.kernels: dict[str, Laid] = {}
        self.targets: dict[str, tuple[int, ...]] = {}
        self.reasons: dict[str, str] = {}
        for node in calls_in_order(model):
            self._call(node)
        self._refuse([self._laid.get(id(tensor)) for tensor in model.outputs], "the network gives it as it is")

    def _call(self, node: Any) -> None:
        layer, read = node.layer, [self._laid.get(id(tensor)) for tensor in node.keras_inputs]
        if layer.name in self._ranks:
            self._begin(layer, node.outputs)
        elif any(laid is not None and laid.slots for laid in read):
            try:
                self._follow(node, read)
            except ValueError as reason:
                self._refuse(read, f"{layer.name!r} ({type(layer).__name__}) {reason}")

    def _begin(self, layer: Any, tensor: Any) -> None:
        """A slot for each row that a lookup gives."""
        *places, width = tensor.shape[1:]
        if None in places:
            self.reasons[layer.name] = "its ids come in rows of no fixed length"
            return
        count, first = int(np.prod(places)), len(self.owners)
        self.owners += [layer.name] * count
        slots = (first + np.arange(count).reshape(places)) * STRIDE
        made = (slots[..., None] + np.arange(size) for size in (width, self._ranks[layer.name]))
        self._laid[id(tensor)] = Laid(*made)

    def _follow(self, node: Any, read: Sequence[Laid | None]) -> None:
        layer, (kind, first) = node.layer, (type(node.layer), read[0])
        if kind is keras.layers.Dense and first is not None:
            read_rows = first if first.before.ndim == 1 else self._any_row(first)
            _require_foldable(layer, read_rows, calls=len(calls_of(layer, self._model)))
            self.kernels[layer.name] = read_rows
            return
        if kind in POOLS and first is not None:
            made = Laid(*(POOLS[kind](layer, _require_whole(labels)) for labels in (first.before, first.after)))
            self._require_one_owner(first)
        elif kind in (keras.layers.Reshape, Reshaped) and first is not None:
            made = self._laid_out(layer, first)
        elif kind in MOVES:
            known = [laid or self._unknown(tensor) for laid, tensor in zip(read, node.keras_inputs, strict=True)]
            made = Laid(*(_moved(layer, [getattr(laid, side) for laid in known]) for side in ("before", "after")))
        else:
            raise ValueError("reads it, and is not known to be linear")
        self._laid[id(node.outputs)] = made

    def _any_row(self, laid: Laid) -> Laid:
        """What a kernel reads that is multiplied by every row of a table."""
        self._require_one_owner(laid)
        sides = (_require_whole(labels) for labels in (laid.before, laid.after))
        return Laid(*(labels.reshape(-1, labels.shape[-1])[0] for labels in sides))

    def _laid_out(self, layer: Any, laid: Laid) -> Laid:
        """Rows in another shape, whose last axis holds whole rows."""
        owner = self._require_one_owner(laid)
        width, rank = int(self._model.get_layer(owner).output_dim), self._ranks[owner]
        before = laid.before.reshape(layer.target_shape if hasattr(layer, "target_shape") else layer.shape)
        if before.shape[-1] % width or (laid.before < 0).any() or len(calls_of(layer, self._model)) > 1:
            raise ValueError("cuts its rows apart")
        target = (*before.shape[:-1], before.shape[-1] // width * rank)
        self.targets[layer.name] = target
        return Laid(before, laid.after.reshape(target))

    def _unknown(self, tensor: Any) -> Laid:
        shape = tensor.shape[1:]
        if None in shape:
            raise ValueError("joins it with what has no fixed length")
        count = int(np.prod(shape))
        self._foreign += count
        labels = -1 - (self._foreign - count + np.arange(count).reshape(shape))
        return Laid(labels, labels)

    def _require_one_owner(self, laid: Laid) -> str:
        owners = {self.owners[slot] for slot in laid.slots}
        if len(owners) > 1:
            raise ValueError("mixes rows of several tables")
        return owners.pop()

    def _refuse(self, read: Iterable[Laid | None], reason: str) -> None:
        for laid in read:
            for slot in laid.slots if laid is not None else ():
                self.reasons.setdefault(self.owners[slot], reason)


def _require_foldable(layer: Any, laid: Laid, *, calls: int) -> None:
    """Raise `ValueError` for a kernel that cannot take a projection in."""
    kernel = layer.kernel.numpy()
    if calls > 1:
        raise ValueError("reads it in one of several calls")
    if len(np.unique(laid.before)) < len(laid.before):
        raise ValueError("reads it twice")
    if layer.kernel_constraint is not None:
        kind = getattr(layer.kernel_constraint, "__name__", type(layer.kernel_constraint).__name__)
        raise ValueError(f"holds its kernel to {kind}, which a projection would break")
    if (kernel == 0).any():
        raise ValueError("has zeros in its kernel, which a projection would fill")
    if len(np.unique(kernel)) < SHARED * kernel.size:
        raise ValueError("has shared weights in its kernel, which a projection would tell apart")


def _require_whole(labels: Labels) -> Labels:
    """Labels of an axis of rows, each whole."""
    if (labels < 0).any() or (labels % STRIDE != np.arange(labels.shape[-1])).any():
        raise ValueError("treats rows alike that are none of this table")
    return labels


def _moved(layer: Any, parts: Sequence[Labels]) -> Labels:
    return np.asarray(MOVES[type(layer)](layer, parts))


def _joined(layer: Any, parts: Sequence[Labels]) -> Labels:
    axis = layer.axis if layer.axis < 0 else layer.axis - 1
    try:
        return np.concatenate(parts, axis=axis)
    except ValueError as error:
        raise ValueError("joins it with rows of another length") from error


def _cut_out(layer: Any, parts: Sequence[Labels]) -> Labels:
    return parts[0][layer.start : layer.start + layer.length]


def _same(layer: Any, parts: Sequence[Labels]) -> Labels:
    if isinstance(layer, keras.layers.Activation) and layer.activation is not keras.activations.linear:
        raise ValueError("is no linear layer")
    return parts[0]


def _firsts(layer: Any, labels: Labels) -> Labels:
    """One row for those of each id: their sum is projected as each of them is."""
    return np.asarray(labels[np.cumsum([0, *layer.hashes[:-1]])])


def _flat(layer: Any, parts: Sequence[Labels]) -> Labels:
    _require_numbers_last(layer)
    return np.asarray(parts[0].reshape(-1))


def _averaged(layer: Any, labels: Labels) -> Labels:
    _require_numbers_last(layer)
    return labels[:1] if layer.keepdims else labels[0]


def _require_numbers_last(layer: Any) -> None:
    if getattr(layer, "data_format", None) == "channels_first":
        raise ValueError("counts channels first")


MOVES: Mapping[Any, Callable[[Any, Sequence[Labels]], Labels]] = {
    keras.layers.Flatten: _flat,
    keras.layers.Concatenate: _joined,
    keras.layers.Dropout: _same,
    keras.layers.Activation: _same,
    FieldSlice: _cut_out,
}
POOLS: Mapping[Any, Callable[[Any, Labels], Labels]] = {
    MaskedMean: lambda _, labels: labels[:1],
    keras.layers.GlobalAveragePooling1D: _averaged,
    HashSum: _firsts,
}
