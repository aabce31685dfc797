"""Where a layer cannot do without a feature: a constant in the place of what the feature gave."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tfshop._keras import keras, tf
from tfshop.compression.units.following import Call, Followed, Kept, blank
from tfshop.compression.units.ledger import NOTHING, Axes, Axis, Entry, Ledger

WITHOUT_A_PART = (keras.layers.Concatenate, keras.layers.Add)  # give the same of what is left


@dataclass(frozen=True, eq=False)
class Restored:
    """A tensor that a call reads with constants in the place of what goes.

    Attributes:
        tensor: Of the network before.
        axes: Its entries without the features.
    """

    tensor: Any
    axes: Axes


@dataclass(eq=False)
class Constants:
    """Features that go, and the calls that read a constant instead.

    A call that can be cut goes without the feature. One that cannot (a product with another feature, a normalization
    over all of them, a layer without a rule) reads a constant of the same shape from as late in the network as
    possible: all that is computed from the feature alone is gone with it.

    Attributes:
        atoms: Of the features.
        asked: Layers that are to read constants from their first call on.
        met: By the identity of a call's node, what it reads as constants, by the identity of the tensor.
        unmet: Layers that a constant in one call did not help.
        features: Atoms of the features that some constant stands for.
    """

    atoms: Entry = NOTHING
    asked: Collection[str] = ()
    met: dict[int, dict[int, Restored]] = field(default_factory=dict)
    unmet: set[str] = field(default_factory=set)
    features: set[int] = field(default_factory=set)

    @property
    def tensors(self) -> list[Any]:
        """All that constants stand for, once each."""
        return list({key: one.tensor for found in self.met.values() for key, one in found.items()}.values())

    def held(self, ledger: Ledger) -> Entry:
        """The features that have to stay by now."""
        return frozenset(atom for atom in self.atoms if atom in ledger.reasons)

    def alone(self, ledger: Ledger, inputs: Sequence[Axes]) -> Axis | None:
        """What the rows go with of something computed from these features alone; None for anything else."""
        if not self.atoms or not inputs or not all(self._is_dead(ledger, axes) for axes in inputs):
            return None
        return (frozenset().union(*(self._of(ledger, axes) for axes in inputs)),)

    def are_needed(self, call: Call, followed: Followed, held: Entry) -> bool:
        """Whether a call, of which its rule said this, cannot do without the features."""
        if self.held(call.ledger) - held or call.name in self.asked:
            return True
        lacks = any(self._is_dead(call.ledger, axes) for axes in call.inputs)
        gone = all(self._is_dead(call.ledger, axes) for axes in followed.outputs)
        return lacks and not gone and not isinstance(call.layer, WITHOUT_A_PART)

    def restored(self, call: Call, node: Any) -> Call | None:
        """The call with constants among its inputs; None where there is nothing they could stand for."""
        tensors = node.keras_inputs
        floats = any(_is_float(tensor) for tensor in tensors)
        met: dict[int, Restored] = {}
        for axes, tensor in zip(call.inputs, tensors, strict=True):
            made = self._restored(call.ledger, axes, tensor, floats) if self._of(call.ledger, axes) else None
            if made is not None:
                met[id(tensor)] = Restored(tensor, made)
                self.features |= self._of(call.ledger, axes)
        if not met:
            return None
        self.met[id(node)] = met
        read = zip(call.inputs, tensors, strict=True)
        return replace(call, inputs=tuple(met[id(t)].axes if id(t) in met else axes for axes, t in read))

    def _restored(self, ledger: Ledger, axes: Axes, tensor: Any, floats: bool) -> Axes | None:
        whole, shape = self._is_dead(ledger, axes), tuple(tensor.shape[1:])
        if None in shape or (not _is_float(tensor) and not (whole and floats)):
            return None
        if whole:
            return blank(shape) if len(axes[0]) == 1 else None
        if self._of(ledger, axes[:1]):
            return None
        return tuple(tuple(ledger.resolve(entry) - self.atoms for entry in axis) for axis in axes)

    def note(self, call: Call, held: Entry) -> None:
        """Remember a layer that holds features whatever this call reads: an earlier call may have read them."""
        if self.held(call.ledger) - held:
            self.unmet.add(call.name)

    def _of(self, ledger: Ledger, axes: Axes) -> Entry:
        """The features that elements of a tensor go with."""
        return frozenset().union(*(ledger.resolve(entry) & self.atoms for axis in axes for entry in axis))

    def _is_dead(self, ledger: Ledger, axes: Axes) -> bool:
        return Kept(ledger, self.atoms).is_dead(axes)


def _is_float(tensor: Any) -> bool:
    return bool(tf.as_dtype(tensor.dtype).is_floating)
