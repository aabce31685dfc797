"""What a rule is given of a call of a layer, and what it says about it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfshop._keras import keras, tf
from tfshop.compression.units.ledger import NOTHING, Axes, Axis, Entry, Ledger

Shape = tuple[int | None, ...]


class Kept:
    """What stays of axes once some atoms are gone.

    Args:
        ledger: Says what entries stand for.
        removed: The atoms that go.
    """

    def __init__(self, ledger: Ledger, removed: Iterable[int] = ()) -> None:
        self._ledger = ledger
        self.removed = frozenset(removed)

    def goes(self, entry: Entry) -> bool:
        """Whether an element goes."""
        return not self.removed.isdisjoint(self._ledger.resolve(entry))

    def indices(self, axis: Axis) -> list[int]:
        """Positions that stay."""
        return [position for position, entry in enumerate(axis) if not self.goes(entry)]

    def count(self, axis: Axis) -> int:
        """How many stay."""
        return len(self.indices(axis))

    def is_dead(self, axes: Axes) -> bool:
        """Whether nothing of a tensor stays."""
        return any(axis and all(self.goes(entry) for entry in axis) for axis in axes)


class Segments:
    """Which parts of a merged table the ids that a layer gives will read.

    Args:
        starts: First row of each part, ascending.
        read: Gives the starts of the parts that are still read.
    """

    def __init__(self, starts: Sequence[int], read: Callable[[Kept], Collection[int]]) -> None:
        self.starts = tuple(starts)
        self._read = read
        self.stays_whole = False  # where another lookup reads the table too

    def kept_starts(self, kept: Kept) -> set[int]:
        """Starts of the parts that stay."""
        return set(self.starts if self.stays_whole else self._read(kept))

    def rows(self, size: int, kept: Kept) -> list[int]:
        """The rows that stay of so many."""
        ends = [*self.starts[1:], size]
        staying = self.kept_starts(kept)
        parts = [range(start, end) for start, end in zip(self.starts, ends, strict=True) if start in staying]
        return [*range(self.starts[0]), *(row for part in parts for row in part)]

    def moved(self, start: int, kept: Kept) -> int:
        """Where a part begins once others are gone."""
        staying = self.kept_starts(kept)
        ends = [*self.starts[1:], self.starts[-1]]
        gone = [end - begin for begin, end in zip(self.starts, ends, strict=True) if begin not in staying]
        before = [begin for begin in self.starts if begin not in staying]
        return start - sum(length for begin, length in zip(before, gone, strict=True) if begin < start)


Rows = Callable[[Kept], list[int]]  # of a table: which stay
WeightAxes = tuple["Axis | Rows | None", ...]  # of each axis of a weight; None for one that stays whole


def entries_of(axes: WeightAxes) -> list[Axis]:
    """The axes of a weight that have entries."""
    return [axis for axis in axes if isinstance(axis, tuple)]


Settings = Callable[[Kept], Mapping[str, Any]]  # changes of a layer's configuration


@dataclass(frozen=True)
class Product:
    """How many multiplications a row takes: so many times the lengths of some axes."""

    axes: tuple[Axis, ...]
    times: int = 1

    def count(self, kept: Kept) -> int:
        """How many are left."""
        return self.times * int(np.prod([kept.count(axis) for axis in self.axes], dtype=np.int64))


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer.

    Attributes:
        layer: The layer.
        inputs: Entries of what it reads.
        arguments: For each of the inputs, the argument of the layer's `call` that it is given as.
        output_shapes: Of what it gives, without the batch.
        ledger: Where atoms are made and tied.
        with_tables: Whether the width of tables may change.
        rows_of: Which rows of a table the ids read, where a layer before knows.
        reads_input: Whether it reads an input of the network, whose columns all stay.
    """

    layer: Any
    inputs: tuple[Axes, ...]
    arguments: tuple[str, ...]
    output_shapes: tuple[Shape, ...]
    ledger: Ledger
    with_tables: bool = False
    rows_of: Segments | None = None
    reads_input: bool = False

    @property
    def name(self) -> str:
        """Name of the layer."""
        return str(self.layer.name)

    @property
    def input(self) -> Axes:
        """What a layer of one input reads."""
        return self.inputs[0]

    def given_as(self, argument: str) -> Axes | None:
        """What it reads as an argument of its `call`; None where no tensor is given as that."""
        given = zip(self.arguments, self.inputs, strict=True)
        return next((axes for name, axes in given if name == argument), None)

    def fresh(self, count: int, kind: str = "unit") -> Axis:
        """Atoms that this layer makes."""
        return self.ledger.fresh(count, self.name, kind)

    def hold(self, *axes: Axis, reason: str) -> None:
        """Have axes stay whole."""
        self.ledger.hold_axes(axes, f"{self.name!r} {reason}")

    def hold_units(self, *axes: Axis, reason: str) -> None:
        """Have units stay, of axes of which features may go."""
        self.ledger.hold_units(axes, f"{self.name!r} {reason}")

    def hold_positions(self, axes: Iterable[Axis]) -> None:
        """Have units stay at whose positions the layer gives something even where they are zero."""
        self.hold_units(*axes, reason="is applied at each of its positions, and of zeros it does not give zeros")


@dataclass(frozen=True)
class Followed:
    """What a rule says of a call.

    Attributes:
        outputs: Entries of what the layer gives.
        weights: Axes of each weight, in the order of `get_weights()`; empty where none shrinks.
        settings: Changes of its configuration.
        products: Multiplications with weights.
        rows_of: Rows of the table that the ids it gives will read.
    """

    outputs: tuple[Axes, ...]
    weights: tuple[WeightAxes, ...] = ()
    settings: Settings | None = None
    products: tuple[Product, ...] = ()
    rows_of: Segments | None = None


Rule = Callable[[Call], "Followed | None"]  # None where the layer, set up as it is, has no rule


def same(*axes: Axis) -> Followed:
    """A layer that gives one tensor."""
    return Followed((axes,))


def blank(shape: Shape, rows: int = 1) -> Axes:
    """A tensor of which nothing ever goes; an unknown length counts as 1."""
    return tuple((NOTHING,) * (length or 1) for length in (rows, *shape))


def unfollowed(call: Call, reason: str) -> Followed:
    """A layer without a rule: what it reads stays."""
    for axes in call.inputs:
        call.ledger.hold_axes(axes, reason)
    rows = max((len(axes[0]) for axes in call.inputs), default=1)
    return Followed(tuple(blank(shape, rows) for shape in call.output_shapes))


def joined(one: Axis, other: Axis) -> Axis:
    """Entries of the products of two axes, the other one's running fastest."""
    return tuple(left | right for left in one for right in other)


def shared_by(axis: Axis) -> Entry:
    """What all elements of an axis share: what is summed over them goes with it."""
    return frozenset.intersection(*axis) if axis else NOTHING


def activated(call: Call, function: Any, axis: Axis) -> None:
    """Note what an activation function does to the units it is applied to."""
    if function is keras.activations.softmax:
        call.ledger.soften(axis)
    elif not is_elementwise(function):
        name = getattr(function, "__name__", type(function).__name__)
        call.hold(axis, reason=f"has the activation {name!r}, in which units meet")


def keeps_zeros(function: Any) -> bool:
    """Whether an activation gives zeros of zeros: tried.

    Example:
        >>> keeps_zeros(tf.nn.gelu), keeps_zeros(tf.nn.sigmoid)
        (True, False)
    """
    if function is None or function is keras.activations.linear:
        return True
    found = _tried(function, np.zeros((1, 3), np.float32))
    return found is not None and not found.any()


def is_elementwise(function: Any) -> bool:
    """Whether a function gives some columns what it gives them among others: tried on numbers.

    Example:
        >>> is_elementwise(tf.nn.gelu), is_elementwise(tf.nn.softmax)
        (True, False)
    """
    if function is None or function is keras.activations.linear:
        return True
    values = np.linspace(-3.0, 4.0, 24, dtype=np.float32).reshape(4, 6)
    some = [0, 2, 3]
    whole, part = (_tried(function, given) for given in (values, values[:, some]))
    if whole is None or part is None or whole.shape != values.shape:
        return False
    return bool(np.allclose(whole[:, some], part, atol=1e-6))


def _tried(function: Any, values: np.ndarray) -> np.ndarray | None:
    """What a function makes of an array; None where it cannot take one."""
    try:
        return np.asarray(function(tf.constant(values)))
    except (TypeError, ValueError, AttributeError, RuntimeError, tf.errors.OpError):
        return None
