"""Input features as things that can go: each one's columns, and all that is computed from them alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tfshop.compression.units.ledger import Axes, Entry, Ledger
from tfshop.compression.units.trace import Trace, follow
from tfshop.data.schema import Schema


@dataclass(frozen=True, eq=False)
class FeatureTrace:
    """A trace whose atoms are features too.

    Attributes:
        trace: Of the network.
        entries: Feature name to its atom.
        held: Features that cannot go, and why.
    """

    trace: Trace
    entries: Mapping[str, Entry]
    held: Mapping[str, str]

    @property
    def free(self) -> tuple[str, ...]:
        """Features that may go, in the schema's order."""
        return tuple(name for name in self.entries if name not in self.held)

    def atoms(self, names: Iterable[str]) -> frozenset[int]:
        """The atoms of some features."""
        return frozenset(atom for name in names for atom in self.entries[name])


def follow_features(model: Any, schema: Schema) -> FeatureTrace:
    """Follow features from the inputs, packed or one a feature, to all that they touch.

    Args:
        model: Functional model without submodels; left as it is.
        schema: Fitted; says which columns are which features.
    """
    ledger = Ledger()
    entries = {f.name: ledger.fresh(1, f"feature {f.name}", "feature")[0] for f in schema.features}
    columns = {}
    for tensor in model.inputs:
        name = tensor._keras_history.layer.name
        columns[name] = _columns(name, tuple(tensor.shape[1:]), schema, entries)
    trace = follow(model, columns={name: axes for name, axes in columns.items() if axes}, ledger=ledger)
    used = {atom for axes in columns.values() for axis in axes for entry in axis for atom in entry}
    held = {name: reason for name, entry in entries.items() if (reason := ledger.reason(entry))}
    held.update({name: "no input of the network is named after it" for name in entries if not entries[name] & used})
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
