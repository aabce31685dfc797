"""Input features as things that can go: each one's columns, and all that is computed from them alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tfshop.compression.units.constants import Constants
from tfshop.compression.units.ledger import Axes, Entry, Ledger
from tfshop.compression.units.trace import Trace, follow
from tfshop.data.schema import Schema

NO_INPUT = "no input of the network is named after it"


@dataclass(frozen=True, eq=False)
class FeatureTrace:
    """A trace whose atoms are features too.

    Attributes:
        trace: Of the network.
        entries: Feature name to its atom.
        held: Features that cannot go, and why; of those that were allowed constants, not even with them.
    """

    trace: Trace
    entries: Mapping[str, Entry]
    held: Mapping[str, str]

    @property
    def free(self) -> tuple[str, ...]:
        """Features that may go, in the schema's order."""
        return tuple(name for name in self.entries if name not in self.held)

    @property
    def replaced(self) -> tuple[str, ...]:
        """Features that constants stand for somewhere, in the schema's order."""
        return tuple(name for name, entry in self.entries.items() if entry & self.trace.constants.features)

    def atoms(self, names: Iterable[str]) -> frozenset[int]:
        """The atoms of some features."""
        return frozenset(atom for name in names for atom in self.entries[name])


def follow_features(model: Any, schema: Schema, constants: Collection[str] = ()) -> FeatureTrace:
    """Follow features from the inputs, packed or one a feature, to all that they touch.

    Args:
        model: Functional model without submodels; left as it is.
        schema: Fitted; says which columns are which features.
        constants: Features in whose place a constant may stand where a layer cannot do without them.
    """
    asked: set[str] = set()
    while True:  # a shared layer asks for constants in its first call too once a later one needs them
        found = _followed(model, schema, constants, frozenset(asked))
        if found.trace.constants.unmet <= asked:
            return found
        asked |= found.trace.constants.unmet


def _followed(model: Any, schema: Schema, constants: Collection[str], asked: frozenset[str]) -> FeatureTrace:
    ledger = Ledger()
    entries = {f.name: ledger.fresh(1, f"feature {f.name}", "feature")[0] for f in schema.features}
    columns = {}
    for tensor in model.inputs:
        name = tensor._keras_history.layer.name
        columns[name] = _columns(name, tuple(tensor.shape[1:]), schema, entries)
    used = {atom for axes in columns.values() for axis in axes for entry in axis for atom in entry}
    standing = frozenset(atom for name in constants for atom in entries[name] & used)
    trace = follow(
        model,
        columns={name: axes for name, axes in columns.items() if axes},
        ledger=ledger,
        constants=Constants(standing, asked),
    )
    held = {name: reason for name, entry in entries.items() if (reason := ledger.reason(entry))}
    held.update({name: NO_INPUT for name in entries if not entries[name] & used})
    return FeatureTrace(trace, entries, held)


def _columns(name: str, shape: tuple[int | None, ...], schema: Schema, entries: Mapping[str, Entry]) -> Axes:
    """Entries of an input: by column where it is packed."""
    packed = {
        "ids": [feature.name for feature in schema.id_columns],
        "numeric": [feature.name for feature in schema.numeric_features],
        **{f.input_name: [f.name] * f.max_length for f in schema.sequence_features},
        **{f.input_name: [f.name] * f.width for f in schema.vector_features},
        **{f.name: [f.name] * (shape[0] or 1 if shape else 1) for f in schema.features},
    }
    if name not in packed or len(shape) > 1:
        return ()
    row = tuple(entries[feature] for feature in packed[name])
    nothing: Entry = frozenset()
    return ((nothing,), row) if shape else (row,)
